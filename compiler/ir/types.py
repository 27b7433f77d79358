"""The type that every edge of the layer graph carries: where it lives, how it transforms, in which unit."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..symmetry.irreps import Irreps
from ..symmetry.sphere import grid_for
from ..symmetry.units import Unit

DIMENSIONLESS = Unit.parse("1")


class Index(enum.StrEnum):
    """The set that a value lives on.

    Angles are ordered pairs of different edges that lead to one node, tokens the edges and the nodes together.
    """

    SYSTEM = "system"
    NODE = "node"
    EDGE = "edge"
    ANGLE = "angle"
    TOKEN = "token"
    STATE = "state"
    PAIR = "pair"
    SPECIES = "species"


class Verdict(enum.IntEnum):
    """How well a symmetry is kept; the verdict of a graph is the maximum over its ops."""

    EXACT = 0
    APPROXIMATE = 1
    BROKEN = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Hold:
    """A verdict with the ops responsible for it, and of an approximate one the error that each op adds."""

    verdict: Verdict = Verdict.EXACT
    ops: frozenset[str] = frozenset()
    errors: frozenset[tuple[str, float]] = frozenset()

    @property
    def eps(self) -> float | None:
        """The sum of the relative errors, each measured on its op; None unless approximate."""
        return sum(eps for _, eps in self.errors) if self.errors else None

    def join(self, other: Hold) -> Hold:
        """The worse of two; equals pool their ops."""
        if self.verdict != other.verdict:
            return max(self, other, key=lambda hold: hold.verdict)
        return Hold(self.verdict, self.ops | other.ops, self.errors | other.errors)

    def __str__(self) -> str:
        return str(self.verdict) if self.eps is None else f"{self.verdict} to {self.eps:.1e}"


EXACT = Hold()


@dataclass(frozen=True, slots=True)
class Categories:
    """A label out of a finite set, such as a chemical species: invariant under everything."""

    names: tuple[str, ...]

    @property
    def dim(self) -> int:
        return 1

    def __str__(self) -> str:
        return f"one of {len(self.names)}"


@dataclass(frozen=True, slots=True)
class Plain:
    """Numbers for which no transformation is declared."""

    dim: int

    def __str__(self) -> str:
        return str(self.dim)


@dataclass(frozen=True, slots=True)
class Cartesian:
    """A Cartesian tensor [3, 3]: these irreps in another basis, one row for each axis."""

    irreps: Irreps

    @property
    def dim(self) -> int:
        return 9

    def __str__(self) -> str:
        return f"{self.irreps} as 3x3"


@dataclass(frozen=True, slots=True)
class Sphere:
    """Functions on the sphere, by their values at the points of a grid; of values [n, point, channel].

    `degrees`: those of the harmonics that they were made of; `grid`: the degree that sums over the grid
    integrate exactly; `sign`: 1 for functions, -1 for those that change sign under reflections (parity
    -(-1)^l); `through`: the nonlinear functions that have acted on them since.
    """

    channels: int
    degrees: tuple[int, ...]
    grid: int
    sign: int = 1
    through: tuple[str, ...] = ()

    @property
    def dim(self) -> int:
        return self.channels

    @property
    def points(self) -> int:
        return math.prod(grid_for(self.grid))

    def __str__(self) -> str:
        n_b, n_a = grid_for(self.grid)
        return f"{self.channels} functions on {n_b}x{n_a} points of a sphere"


@dataclass(frozen=True, slots=True)
class Axes:
    """Axes to turn features to, as matrices of the degrees 0..lmax.

    `free`: only one axis is fixed, a turn about it is left to choice; `mirrored`: reflected with the system.
    """

    lmax: int
    free: bool
    mirrored: bool

    @property
    def dim(self) -> int:
        return sum((2 * l + 1) ** 2 for l in range(self.lmax + 1))

    def __str__(self) -> str:
        return f"axes to degree {self.lmax}"


@dataclass(frozen=True, slots=True)
class Orbit:
    """Orientations that a value is computed in, side by side: [n, orientation, dim].

    `rows`: rotations and reflections [3, 3], flat, with their `weights`; `outer`: the verdicts before them;
    `source`: the irreps that were turned, `through`: the nonlinear functions that have acted since.
    """

    name: str
    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    degree: int
    outer: Mapping[str, Hold]
    source: Irreps
    through: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def improper(self) -> bool:
        """Has every element its negative among them? A group has, where it has that of one."""
        known = {tuple(round(x, 9) + 0.0 for x in row) for row in self.rows}
        return all(tuple(round(-x, 9) + 0.0 for x in row) in known for row in self.rows)

    def then(self, functions: tuple[str, ...]) -> Orbit:
        """The orbit after more functions."""
        return replace(self, through=self.through + functions)

    def join(self, other: Orbit) -> Orbit:
        """The orbit of what is made of values in the same orientations."""
        outer = {
            name: self.outer.get(name, EXACT).join(other.outer.get(name, EXACT))
            for name in (*self.outer, *other.outer)
        }
        source = self.source if self.source == other.source else self.source + other.source
        return replace(self, outer=outer, source=source, through=max(self.through, other.through, key=len))


Rep = Irreps | Categories | Plain | Cartesian | Axes | Sphere


@dataclass(frozen=True, slots=True)
class Type:
    """What is known of a value before there is one.

    index:    the set it lives on
    rep:      how each element transforms under the rotations (and inversion) of the system's group
    unit:     physical dimension
    holds:    per factor of the group, how well the value keeps its promised transformation
    affine:   moves with translations (a position), instead of ignoring them
    frame:    the axes that its components are along, where they are not those of space
    orbit:    the orientations that it is computed in, where there are several
    smooth:   k of C^k in the positions (or the state); inf for analytic
    fades:    k of C^k of a value on edges that goes on as 0 beyond the cutoff; -1 where it ends with a jump
    radius:   how far away something may be that still changes the value (Å); 0 for on-site, inf for global
    """

    index: Index
    rep: Rep
    unit: Unit = DIMENSIONLESS
    holds: Mapping[str, Hold] = field(default_factory=dict)
    affine: bool = False
    frame: str | None = None
    orbit: Orbit | None = None
    smooth: float = math.inf
    fades: float = -1.0
    radius: float = 0.0

    @property
    def dim(self) -> int:
        return self.rep.dim

    @property
    def irreps(self) -> Irreps:
        """The rep, where it is known to be a sum of irreps."""
        assert isinstance(self.rep, Irreps), self.rep
        return self.rep

    def hold(self, factor: str) -> Hold:
        return self.holds.get(factor, EXACT)

    def with_(self, **changes: object) -> Type:
        return replace(self, **changes)  # type: ignore[arg-type]

    def __str__(self) -> str:
        unit = "" if self.unit == DIMENSIONLESS else f" [{self.unit}]"
        affine = " affine" if self.affine else ""
        kept = [f"{factor} {hold}" for factor, hold in self.holds.items() if hold.verdict]
        rep = self.rep.short if isinstance(self.rep, Irreps) else self.rep
        inside = f" in {self.frame}" if self.frame else ""
        turned = f" in {self.orbit.count} orientations" if self.orbit else ""
        return f"{self.index}: {rep}{inside}{turned}{affine}{unit}{'; ' + ', '.join(kept) if kept else ''}"


def join_holds(types: tuple[Type, ...]) -> dict[str, Hold]:
    """Per factor, the worst of the inputs."""
    joined: dict[str, Hold] = {}
    for one in types:
        for factor, hold in one.holds.items():
            joined[factor] = joined.get(factor, EXACT).join(hold)
    return joined
