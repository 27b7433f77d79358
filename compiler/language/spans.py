"""Places in a source text."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A line and a column, both counted from 1 in characters (not bytes).

    Example:
        >>> Position(2, 1) < Position(2, 7)
        True
    """

    line: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of one file: from `start` up to, and without, `end`.

    Example:
        >>> print(Span("spec.yaml", Position(4, 12), Position(4, 17)))
        spec.yaml:4:12
    """

    file: str
    start: Position
    end: Position

    def covers(self, other: "Span") -> bool:
        """Whether `other` lies within this stretch."""
        return self.file == other.file and self.start <= other.start and other.end <= self.end

    def __str__(self) -> str:
        return f"{self.file}:{self.start.line}:{self.start.column}"
