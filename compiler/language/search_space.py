"""One value that a spec leaves open, as `equic tune` sees it."""

from dataclasses import dataclass, field
from typing import Any, Literal

from .nodes import Node, Path, node_from, path_text, plain, same_data
from .spans import Span
from .yaml_writer import write_flow

Number = int | float


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """One value that a spec leaves open.

    A range has `low`, `high`, and `log` or `step`; `unit` is the text behind its numbers (`Å` in
    `low: 4.0 Å`), which values get when they are put into the spec. A choice has `choices`.
    """

    path: Path
    kind: Literal["float", "int", "choice"]
    default: Any
    span: Span
    low: Number | None = None
    high: Number | None = None
    log: bool = False
    step: Number | None = None
    unit: str | None = None
    choices: tuple[Any, ...] = ()
    nodes: tuple[Node, ...] = field(default=(), compare=False, repr=False)  # the choices, or both ends

    @property
    def name(self) -> str:
        """The dotted path: `symmetry.SO(3).relaxed`."""
        return path_text(self.path)

    @property
    def labels(self) -> tuple[str, ...]:
        """The choices as text, for programs that choose among words."""
        return tuple(write_flow(node) for node in self.nodes) if self.kind == "choice" else ()

    def candidates_to_check(self) -> tuple[Any, ...]:
        """Both ends of a range, or every choice: if these compile, so does what lies between."""
        if self.kind == "choice":
            return self.choices
        assert self.low is not None
        assert self.high is not None
        return (self.low, self.high)

    def node(self, value: Any) -> Node:
        """A chosen value as it stands in the spec, with the span of the choice where it is one of those."""
        for node in self.nodes:
            if same_data(plain(node), value):
                return node
        if self.unit is not None and isinstance(value, (int, float)):
            return node_from(f"{value!r} {self.unit}", self.span)
        return node_from(value, self.span)
