"""What every op has: fields, a type rule, a verdict rule, claims, a reference, and its lowering."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from ...language.codes import Code
from ...language.wording import value_words
from ...symmetry.irreps import Irreps, IrrepsError
from ...symmetry.units import Unit
from ..types import EXACT, Hold, Index, Type, Verdict, join_holds

if TYPE_CHECKING:
    from ...language.diagnostics import Report
    from ...language.spans import Span

ROUNDING = 1e-12  # an error below it is not told from that of float64
ANGSTROM = Unit.parse("Å")
MAX_HARMONICS, MAX_ORDER, MAX_SIZE = 8, 4, 1_000_000
# What a level-3 graph may ask for; beyond it, tables would not fit into memory.
Size = Annotated[int, Field(ge=1, le=MAX_SIZE, strict=True)]
Degree = Annotated[int, Field(ge=0, le=MAX_HARMONICS, strict=True)]
Order = Annotated[int, Field(ge=1, le=MAX_ORDER, strict=True)]
Ref = Annotated[str, WithJsonSchema({"type": "string", "description": "the name of a value"})]


def read_irreps(value: object) -> Irreps:
    """Irreps from their text, as a field of an op takes them. Raises `IrrepsError`."""
    if not isinstance(value, (str, Irreps)):
        words = value_words(value, str(value))
        raise IrrepsError(f"irreps are a text, not {words}", help="write them as `16x0e+8x1o`")
    found = value if isinstance(value, Irreps) else Irreps.parse(value)
    if not found.blocks:
        raise IrrepsError(f"`{value}` holds no features", help="ask for at least one copy, such as `1x0e`")
    return found


IrrepsField = Annotated[
    Irreps,
    BeforeValidator(read_irreps),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["64x0e+64x1o", "64x(0..2)"]}),
]


@dataclass(frozen=True, slots=True)
class Dial:
    """One relaxed symmetry: `group` is held with `strength` s, 0 < s <= 1."""

    group: str
    strength: float

    @property
    def factors(self) -> tuple[str, ...]:
        return ("SO(3)", "inversion") if self.group == "O(3)" else (self.group,)

    def json(self) -> dict[str, object]:
        return {"group": self.group, "strength": self.strength}


@dataclass(frozen=True, slots=True)
class Work:
    """Per element: floating-point operations of the forward pass, and numbers kept for the backward pass.

    `ways` is how many inputs of the costly part depend on positions where all of its inputs do: the backward
    pass repeats the forward pass's operations that often.
    """

    flops: float
    kept: float
    ways: int = 1


@dataclass(frozen=True, slots=True)
class Known:
    """An input that the spec declares: where it lives, how it transforms, its unit."""

    name: str
    index: Index
    rep: Irreps
    unit: Unit


@dataclass(frozen=True, slots=True)
class Scope:
    """What type inference knows of the system: its kind, group factors and sizes.

    `pairs` says which nodes have an edge: those `within` the cutoff, `all`, or the `nearest` ones, so many, within
    the cutoff; the cutoff is infinite where there is none. `length` is the unit of positions, `inputs` what is
    known beside them.
    """

    kind: str
    factors: tuple[str, ...]
    species: tuple[str, ...] = ()
    cutoff: float = 0.0
    coordinates: tuple[tuple[str, int], ...] = ()
    pairs: Literal["within", "all", "nearest"] = "within"
    length: Unit = ANGSTROM
    inputs: tuple[Known, ...] = ()
    nearest: int | None = None

    def known(self, name: str) -> Known | None:
        """The input of this name, or None."""
        return next((one for one in self.inputs if one.name == name), None)

    @property
    def is_points(self) -> bool:
        """Points in space: atoms, or particles."""
        return self.kind in ("atoms", "particles")


@dataclass(slots=True)
class Site:
    """One node during inference: where errors point, and where broken symmetries are explained."""

    name: str
    span: Span
    scope: Scope
    report: Report
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)

    def error(self, code: Code, message: str, help: str | None = None) -> None:
        self.report.error(code, self.span, message, help=help)

    def expect_one_set(self, types: Sequence[Type], what: str) -> bool:
        """Report unless all values live on one set."""
        first = types[0].index
        other = next((one for one in types if one.index is not first), None)
        if other is None:
            return True
        self.error(
            Code.INDEX_MISMATCH,
            f"{what} needs values on one set, but gets {first} and {other.index}",
            help="`gather` takes values from nodes to edges, `reduce` sums edges into nodes",
        )
        return False

    def broken(self, holds: Mapping[str, Hold], factors: Sequence[str], reason: str) -> dict[str, Hold]:
        """`holds` with these factors broken here, because of `reason`."""
        result = dict(holds)
        for factor in factors:
            if factor in self.scope.factors:
                here = Hold(Verdict.BROKEN, frozenset({self.name}))
                result[factor] = result.get(factor, EXACT).join(here)
                self.reasons[(self.name, factor)] = reason
        return result

    def jumps(self, reason: str) -> None:
        """Keep why a value is not continuous here."""
        self.reasons[(self.name, "continuity")] = reason

    def approximate(
        self, holds: Mapping[str, Hold], factors: Sequence[str], eps: float, reason: str
    ) -> dict[str, Hold]:
        """`holds` with these factors held here to a relative error `eps` only; rounding counts as exact."""
        result = dict(holds)
        for factor in factors:
            if factor in self.scope.factors and eps > ROUNDING:
                here = Hold(Verdict.APPROXIMATE, frozenset({self.name}), frozenset({(self.name, eps)}))
                result[factor] = result.get(factor, EXACT).join(here)
                self.reasons[(self.name, factor)] = reason
        return result


class Op(BaseModel):
    """A node of the layer graph.

    Subclasses declare `kind`, their fields, `ports` (the fields that name other values), `commutative` (the
    order of `of` has no say) and `reference` (a citation key). What an op keeps is what its type rule says;
    the layer it lowers to is held to that by the conformance tests.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)

    ports: ClassVar[tuple[str, ...]] = ("of",)
    commutative: ClassVar[bool] = False
    reference: ClassVar[str] = ""

    def inputs(self) -> Iterator[tuple[str, str]]:
        """(port, name) of every value that this op reads."""
        for port in self.ports:
            value = getattr(self, port)
            if isinstance(value, tuple):
                yield from ((f"{port}.{k}", name) for k, name in enumerate(value))
            elif value is not None:
                yield port, value

    def renamed(self, names: Mapping[str, str]) -> Op:
        """The same op, reading other names."""
        changes: dict[str, Any] = {}
        for port in self.ports:
            value = getattr(self, port)
            if isinstance(value, tuple):
                changes[port] = tuple(names.get(name, name) for name in value)
            elif value is not None:
                changes[port] = names.get(value, value)
        return self.model_copy(update=changes)

    def canonical(self, names: Mapping[str, str]) -> Op:
        """The same op, reading other names, in an order of these where order has no say."""
        op = self.renamed(names)
        if not self.commutative:
            return op
        order = sorted(op.of, key=lambda name: (len(name), name))  # type: ignore[attr-defined]
        return op.model_copy(update={"of": tuple(order)})

    def text(self, names: Mapping[str, str] | None = None) -> str:
        """One line of flow-style YAML (a subset that is JSON), which parses back to this op."""
        op = self if names is None else self.canonical(names)
        data = {"kind": self.kind, **op.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})}  # type: ignore[attr-defined]
        return json.dumps(data, ensure_ascii=False)

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        """The type of the result from the types of the inputs (in the order of `inputs()`).

        Reports what is wrong and returns None when there is no such type.
        """
        raise NotImplementedError(f"{type(self).__name__} has no type rule")

    def cites(self) -> str:
        """The citation key of this op as it is filled in; `reference` unless its fields choose among papers."""
        return self.reference

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        """The parameters of the plan step: plain JSON."""
        return {}

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        """How many trainable numbers the op has."""
        return 0

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        """What its layer does for one element of each set that it runs over; by default it writes its result."""
        return {result.index: Work(result.dim, result.dim)}


def expect_irreps(value: Type, site: Site, what: str) -> bool:
    """Report unless the value is a sum of irreps."""
    if isinstance(value.rep, Irreps):
        return True
    site.error(
        Code.REP_MISMATCH,
        f"{what} needs features of declared irreps, but gets {value.rep}",
        help="embed species first, or read an op whose result has irreps",
    )
    return False


def result_like(types: Sequence[Type], **changes: Any) -> Type:
    """The first input's type with the verdicts, smoothness and radius of all inputs joined.

    `fades` is not: an op that sends 0 to 0 says so itself.
    """
    base = types[0]
    joined = {
        "holds": join_holds(tuple(types)),
        "smooth": min(one.smooth for one in types),
        "radius": max(one.radius for one in types),
        "fades": -1.0,
    }
    return base.with_(**{**joined, **changes})
