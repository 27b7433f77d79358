"""What neighbours add to an atom's environment in DeepPot-SE, and what free places in it do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps, harmonics
from ...symmetry.units import Unit
from ..types import Categories, Index, Type
from .activations import SMOOTHNESS, Activation
from .base import Degree, Op, Ref, Scope, Site, Size, Work, expect_irreps, result_like
from .radial import SCALAR
from .resnet import dense_work, weights_of

Number = Annotated[float, Field(strict=True)]
Positive = Annotated[float, Field(gt=0, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]


class Filters(Op):
    """A network of one function of the edge length, counted from its mean, times that function, degree by degree.

        x = (s - mean_z) / size_z,  g = N(x) for the pair of species,  c_z = -mean_z / size_z
        w_0 = g x - N(c_z) c_z,     w_l = g s / spread_z  for 0 < l <= lmax

    z is the target's species, and N depends on the source's alone with `one_side`. What x leaves at the cutoff
    is subtracted, so that the weights end as s does; `unfilled` puts it back for a fixed number of places. Lists
    hold one number, or one for every species. Type: edge 1x0e, pairs -> edge (lmax + 1) n x 0e, degree by degree.
    Verdict: exact.
    """

    kind: Literal["filters"] = "filters"
    of: Ref
    species: Ref
    widths: Annotated[tuple[Size, ...], Field(min_length=1)]
    lmax: Degree = 1
    mean: Annotated[tuple[Number, ...], Field(min_length=1)] = (0.0,)
    size: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0,)
    spread: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    sel: tuple[Count, ...] = ()
    one_side: bool = False
    activation: Activation = "tanh"
    timestep: bool = False

    ports: ClassVar[tuple[str, ...]] = ("of", "species")
    reference: ClassVar[str] = "zhang2018deeppotse"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        s, pairs = types
        count = len(site.scope.species)
        if not expect_irreps(s, site, "`filters`") or not site.expect_one_set(types, "`filters`"):
            return None
        if s.rep != SCALAR or not isinstance(pairs.rep, Categories) or len(pairs.rep.names) != count**2:
            site.error(
                Code.REP_MISMATCH,
                f"`filters` read one function of the length and the pairs of species, but get {s} and {pairs}",
                help="ask for `count: 1` radial functions, and write `species` as a `pair_kind`",
            )
            return None
        lists = {"mean": self.mean, "size": self.size, "spread": self.spread or self.size}
        for name, found in {**lists, **({"sel": self.sel} if self.sel else {})}.items():
            if len(found) != count and (name == "sel" or len(found) != 1):
                site.error(
                    Code.WRONG_LENGTH,
                    f"`{name}` has {len(found)} numbers, but there are {count} species",
                    help=f"write one for each of {', '.join(site.scope.species)}"
                    + ("" if name == "sel" else ", or one for all"),
                )
                return None
        rep = Irreps((Block(self.widths[-1] * (self.lmax + 1), Irrep(0, 1)),))
        smooth = min(s.smooth, SMOOTHNESS.get(self.activation, s.smooth))
        return result_like(types, rep=rep, unit=Unit.parse("1"), smooth=smooth, fades=s.fades)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        count = len(scope.species)

        def spelt(values: Sequence[float]) -> list[float]:
            return list(values) * (1 if len(values) == count else count)

        return {
            "species": count,
            "one_side": self.one_side,
            "widths": list(self.widths),
            "lmax": self.lmax,
            "act": self.activation,
            "timestep": self.timestep,
            "mean": spelt(self.mean),
            "size": spelt(self.size),
            "spread": spelt(self.spread or self.size),
            "sel": list(self.sel) or [0] * count,
        }

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        labels = len(scope.species) ** (1 if self.one_side else 2)
        return labels * weights_of((1, *self.widths), len(self.widths) * self.timestep)

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        labels = len(scope.species) ** (1 if self.one_side else 2)
        work = dense_work((1, *self.widths), labels)
        return {result.index: Work(work.flops, work.kept + 3 * result.dim)}


class Unfilled(Op):
    """What the environment of an atom without neighbours is, where a fixed number of places is counted.

        y_z = sum_t sel_t N_(z,t)(c_z) c_z / sum_t sel_t   for l = 0,  else 0

    N, c and sel are those of the `filters` that `of` names. Type: edge filters, node categories -> node
    n x (0..lmax). Verdict: exact.
    """

    kind: Literal["unfilled"] = "unfilled"
    of: Ref
    species: Ref
    lmax: Degree = 1

    ports: ClassVar[tuple[str, ...]] = ("of", "species")
    reference: ClassVar[str] = "zhang2018deeppotse"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        filters, species = types
        if not expect_irreps(filters, site, "`unfilled`"):
            return None
        blocks = (self.lmax + 1, filters.irreps.dim)
        if (
            not isinstance(species.rep, Categories)
            or species.index is not Index.NODE
            or blocks[1] % blocks[0]
        ):
            site.error(
                Code.REP_MISMATCH,
                f"`unfilled` reads `filters` of the same `lmax` and the species, but gets {filters} and {species}",
                help="write `of` as the name of a `filters`, and `species: species`",
            )
            return None
        copies = blocks[1] // blocks[0]
        rep = Irreps(tuple(Block(copies, one.irrep) for one in harmonics(self.lmax)))
        # a number for each species: nothing of the neighbours enters
        return result_like((species,), rep=rep, unit=Unit.parse("1"))

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"filters": self.of, "dim": result.dim}
