"""Diagnostics are values: stages add them to a `Report`, and the pipeline raises once, with all of them."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from .codes import Code, explain
from .fixes import Edit, Fix
from .spans import Position, Span
from .wording import clip

__all__ = [
    "Code",
    "Diagnostic",
    "Edit",
    "Fix",
    "Position",
    "Related",
    "Report",
    "Severity",
    "Span",
    "SpecError",
    "SpecValueError",
    "explain",
]

Related = tuple[Span, str]
_LONGEST_MESSAGE = 300  # characters
MOST = 200  # of every severity; a text with more mistakes is the wrong file, and nobody reads them all


class Severity(StrEnum):
    """How grave a diagnostic is: errors stop the compiler, warnings and notes do not."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """What is wrong, where, and how to mend it.

    `message` stands alone on one line; `label` is a word or two behind the carets; `related` are further
    places, each with a sentence. `span` is None only where there is no text to point at (a missing file).
    `fix` is a change of the text that `equic check --fix` can make.
    """

    code: Code
    severity: Severity
    message: str
    span: Span | None = None
    label: str | None = None
    help: str | None = None
    related: tuple[Related, ...] = ()
    fix: Fix | None = None

    @property
    def sort_key(self) -> tuple[str, Position, str, str]:
        """File, then line and column, then code: the order in which diagnostics are shown."""
        if self.span is None:
            return ("", Position(0, 0), self.code, self.message)
        return (self.span.file, self.span.start, self.code, self.message)


@dataclass(slots=True)
class Report:
    """Collects diagnostics, and the texts that they point into.

    Of every severity the first `MOST` are kept; `left_out` counts the rest.

    Example:
        >>> report = Report()
        >>> report.error(Code.DUPLICATE_KEY, None, "the key `name` is written twice", help="remove one")
        >>> report.has_errors, [str(d.code) for d in report.diagnostics]
        (True, ['S003'])
    """

    texts: dict[str, str] = field(default_factory=dict)
    _found: dict[Diagnostic, None] = field(default_factory=dict, repr=False)
    _unusable: list[Span] = field(default_factory=list, repr=False)
    _count: Counter[Severity] = field(default_factory=Counter, repr=False)

    def error(
        self,
        code: Code,
        span: Span | None,
        message: str,
        *,
        help: str | None = None,
        label: str | None = None,
        related: tuple[Related, ...] = (),
        fix: Fix | None = None,
    ) -> None:
        """Add an error: the spec cannot be compiled."""
        self.add(Diagnostic(code, Severity.ERROR, _line(message), span, label, help, tuple(related), fix))

    def warning(
        self,
        code: Code,
        span: Span | None,
        message: str,
        *,
        help: str | None = None,
        label: str | None = None,
        related: tuple[Related, ...] = (),
        fix: Fix | None = None,
    ) -> None:
        """Add a warning: the spec compiles, but probably not to what was meant."""
        self.add(Diagnostic(code, Severity.WARNING, _line(message), span, label, help, tuple(related), fix))

    def note(
        self,
        code: Code,
        span: Span | None,
        message: str,
        *,
        help: str | None = None,
        label: str | None = None,
        related: tuple[Related, ...] = (),
        fix: Fix | None = None,
    ) -> None:
        """Add a note: worth knowing, nothing to do."""
        self.add(Diagnostic(code, Severity.NOTE, _line(message), span, label, help, tuple(related), fix))

    def add(self, diagnostic: Diagnostic) -> None:
        """Add a diagnostic; the same one twice counts once, and what `give_up` covers does not count."""
        span = diagnostic.span
        if self._count[diagnostic.severity] >= MOST:
            self._count[diagnostic.severity] += 1
        elif diagnostic not in self._found and not (
            span and any(outer.covers(span) for outer in self._unusable)
        ):
            self._found[diagnostic] = None
            self._count[diagnostic.severity] += 1

    @property
    def left_out(self) -> int:
        """How many diagnostics were found beyond those that are kept."""
        return self._count.total() - len(self._found)

    def leave_out(self, count: int) -> None:
        """Count errors that nobody has worded, because there are too many."""
        self._count[Severity.ERROR] += count

    def give_up(self, span: Span) -> None:
        """Leave out whatever later stages say of the value at `span`: its mistake is already reported."""
        if len(self._unusable) < MOST:
            self._unusable.append(span)

    def extend(self, other: "Report") -> None:
        """Take over the diagnostics and texts of another report."""
        self.texts.update(other.texts)
        for diagnostic in other.diagnostics:
            self.add(diagnostic)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """All diagnostics by file, line and column."""
        return tuple(sorted(self._found, key=lambda diagnostic: diagnostic.sort_key))

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The errors alone, in the same order."""
        return tuple(d for d in self.diagnostics if d.severity is Severity.ERROR)

    @property
    def has_errors(self) -> bool:
        """Whether there is at least one error."""
        return any(d.severity is Severity.ERROR for d in self._found)

    def raise_if_errors(self) -> None:
        """Raise `SpecError` with every diagnostic when there is at least one error."""
        if self.has_errors:
            raise SpecError(self)


def _line(message: str) -> str:
    """The message on one line; what a text of thousands of characters adds to it is cut."""
    if len(message) <= _LONGEST_MESSAGE and "\n" not in message:
        return message
    return clip(message, _LONGEST_MESSAGE)


class SpecError(Exception):
    """A spec that does not compile; its text is every error in full, its `report` holds them as data."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:
        from .render import render_full

        return "\n\n".join(render_full(diagnostic, self.report.texts) for diagnostic in self.report.errors)


class SpecValueError(ValueError):
    """Raised by validators of the schema: a wrong value with its own code, help and place.

    `at` is a path relative to the value under validation, for model validators that blame one key. `instead` is
    the value to write there, where that is beyond doubt.

    Example:
        >>> raise SpecValueError("`2x` is not an irrep", help="write `2x0e`", code=Code.BAD_IRREPS)
        Traceback (most recent call last):
        ...
        equic.compiler.language.diagnostics.SpecValueError: `2x` is not an irrep
    """

    def __init__(
        self,
        message: str,
        *,
        help: str | None = None,
        code: Code = Code.INVALID_VALUE,
        at: tuple[str | int, ...] = (),
        instead: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        self.code = code
        self.at = at
        self.instead = instead
