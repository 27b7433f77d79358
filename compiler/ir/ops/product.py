"""Tensor products: of features with harmonics (edges), and of features with themselves (many bodies)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...language.wording import count_of
from ...symmetry.irreps import Block, Irrep, Irreps, harmonics, symmetric_power_paths
from ..types import Categories, Type
from .base import (
    MAX_HARMONICS,
    MAX_ORDER,
    MAX_SIZE,
    Dial,
    IrrepsField,
    Op,
    Order,
    Ref,
    Scope,
    Site,
    expect_irreps,
    result_like,
)


@dataclass(frozen=True, slots=True)
class Path:
    """One coupling l1 x l2 -> l3 of a left block with a right block; `scale` is below 1 where relaxed."""

    left: int
    right: int
    out: Block
    scale: float = 1.0


def inversion_strength(relax: Sequence[Dial]) -> float:
    """How strongly parity-forbidden paths enter: the product of the dials that release inversion, else 0."""
    strength, released = 1.0, False
    for dial in relax:
        if "inversion" in dial.factors:
            strength, released = strength * dial.strength, True
    return strength if released else 0.0


def product_paths(left: Irreps, right: Irreps, wanted: Irreps, relax: Sequence[Dial] = ()) -> list[Path]:
    """The couplings that lead to a wanted irrep, sorted by result; forbidden parities only where relaxed."""
    kinds = wanted.kinds
    leak = inversion_strength(relax)
    paths = []
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            for allowed in a.irrep * b.irrep:
                for irrep in kinds:
                    if irrep == allowed:
                        paths.append(Path(i, j, Block(a.mul, irrep)))
                    elif irrep.l == allowed.l and leak:
                        paths.append(Path(i, j, Block(a.mul, irrep), leak))
    return sorted(paths, key=lambda path: path.out.irrep.order)


class Product(Op):
    """Tensor product of features with the harmonics of an edge, one edge weight a path ("uvu").

        m_(k,m3,u) = w_(k,u) sqrt(2l3+1) sum_(m1,m2) C^(l1 l2 l3)_(m1 m2 m3) x_(m1,u) Y_(m2)

    `irreps` says which results are wanted. Verdict: exact; under a relaxed inversion the paths that
    parity forbids enter scaled by s and break it.
    """

    kind: Literal["product"] = "product"
    of: tuple[Ref, Ref]
    weights: Ref
    irreps: IrrepsField
    relax: tuple[Dial, ...] = ()

    ports: ClassVar[tuple[str, ...]] = ("of", "weights")
    reference: ClassVar[str] = "thomas2018tensor"

    def paths(self, types: Sequence[Type]) -> list[Path]:
        return product_paths(types[0].irreps, types[1].irreps, self.irreps, self.relax)

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        left, right, weights = types
        if not (expect_irreps(left, site, "`product`") and expect_irreps(right, site, "`product`")):
            return None
        if not site.expect_one_set(types, "`product`"):
            return None
        if any(block.mul != 1 for block in right.irreps) or not isinstance(weights.rep, Irreps):
            site.error(
                Code.REP_MISMATCH,
                f"`product` multiplies features with harmonics and weights, but gets {right} and {weights}",
                help="write `of: [FEATURES, HARMONICS]` with one copy of every harmonic, and weights from an `mlp`",
            )
            return None
        paths = self.paths(types)
        unreachable = [
            irrep for irrep in self.irreps.kinds if not any(path.out.irrep == irrep for path in paths)
        ]
        if unreachable:
            enough = _harmonics_for(left.irreps, unreachable)
            names = " and ".join(f"`{irrep}`" for irrep in unreachable)
            site.error(
                Code.UNREACHABLE_PARITY if enough is None else Code.UNREACHABLE_IRREPS,
                f"no path of `{left.irreps.short}` with `{right.irreps.short}` reaches {names}",
                help=f"harmonics of degree l have parity (-1)^l: {_reflected(left.irreps, unreachable)}"
                if enough is None
                else f"harmonics up to {enough} reach {'it' if len(unreachable) == 1 else 'them'}: write "
                f"`harmonics: {enough}`, `lmax: {enough}` in a preset or an `sph`; or ask for fewer irreps",
            )
            return None
        count = sum(path.out.mul for path in paths)
        if count > MAX_SIZE:
            site.error(
                Code.IRREPS_TOO_LARGE,
                f"the product has {count:,} path weights on every edge, above {MAX_SIZE:,}",
                help="ask for fewer channels, or lower degrees",
            )
            return None
        if weights.dim != count:
            site.error(
                Code.PATH_WEIGHTS,
                f"the product has {count_of(count, 'path weight')}, but `{self.weights}` gives "
                f"{count_of(weights.dim, 'number')}",
                help=f"let it end in {count_of(count, 'number')}: `out: {count}`",
            )
            return None
        result = result_like(types, rep=Irreps(tuple(path.out for path in paths)))
        if any(path.scale != 1 or not _allowed(left.irreps, right.irreps, path) for path in paths):
            reason = "paths that parity forbids enter it"
            result = result.with_(holds=site.broken(result.holds, ("inversion",), reason))
        return result

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        paths = [[path.left, path.right, k, path.scale] for k, path in enumerate(self.paths(types))]
        left, right = types[0].irreps, types[1].irreps
        return {"left": str(left), "right": str(right), "out": str(result.rep), "mode": "uvu", "paths": paths}


def _harmonics_for(left: Irreps, wanted: Sequence[Irrep]) -> int | None:
    """The smallest degree of harmonics that reaches every wanted irrep, or None."""
    for lmax in range(MAX_HARMONICS + 1):
        reached = {irrep for a in left.kinds for b in harmonics(lmax).kinds for irrep in a * b}
        if set(wanted) <= reached:
            return lmax
    return None


def _reflected(left: Irreps, wanted: Sequence[Irrep]) -> str:
    """How to reach irreps of the other parity."""
    if left.all_scalar:
        other = " and ".join(f"`{Irrep(one.l, -one.p)}`" for one in wanted)
        first = "`1e`" if any(one.l == 0 for one in wanted) else "`1o`"
        return (
            f"from scalars they reach {other}; carry {first} in a layer before, or declare `inversion: free`"
        )
    return "carry features of the other parity, or declare `inversion: free`"


def _allowed(left: Irreps, right: Irreps, path: Path) -> bool:
    return left.blocks[path.left].irrep.p * right.blocks[path.right].irrep.p == path.out.irrep.p


class Power(Op):
    """Symmetric powers of the features up to `order`, weighted per species and channel: many-body features.

        B_(L,M,c) = sum_(nu <= order) sum_eta W^(nu)_(z,eta,c) U^(nu)_(eta,LM)[A_c, ..., A_c]

    U is a complete basis of the equivariant symmetric maps. All blocks of A share one multiplicity.
    Verdict: exact; paths that parity forbids enter scaled by s where inversion is relaxed.
    """

    kind: Literal["power"] = "power"
    of: Ref
    species: Ref
    order: Order
    out: IrrepsField
    relax: tuple[Dial, ...] = ()

    ports: ClassVar[tuple[str, ...]] = ("of", "species")
    reference: ClassVar[str] = "batatia2022mace"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        a = types[0]
        if not expect_irreps(a, site, "`power`"):
            return None
        if not isinstance(types[1].rep, Categories):
            site.error(
                Code.REP_MISMATCH,
                f"`species` of a power needs species, but gets {types[1]}",
                help="write `species: species`",
            )
            return None
        if not site.expect_one_set(types, "`power`"):
            return None
        if a.irreps.channels is None or a.irreps.channels != self.out.channels:
            site.error(
                Code.CHANNELS_UNEQUAL,
                "a symmetric power needs one number of channels, but gets "
                f"`{a.irreps.short}` -> `{self.out.short}`",
                help=f"write `{_even_channels(a.irreps, self.out)}`",
            )
            return None
        missing = [irrep for irrep in self.out.kinds if not self._paths(a.irreps, irrep)]
        if missing:
            names = " and ".join(f"`{irrep}`" for irrep in missing)
            site.error(
                Code.UNREACHABLE_BY_POWER,
                f"a power of order {self.order} makes no {names} of `{a.irreps.short}`",
                help=self._cure(a.irreps, missing),
            )
            return None
        result = result_like(types, rep=self.out)
        if self.relax and inversion_strength(self.relax):
            reason = "products that parity forbids enter it"
            result = result.with_(holds=site.broken(result.holds, ("inversion",), reason))
        return result

    def _cure(self, irreps: Irreps, missing: Sequence[Irrep]) -> str:
        """The smallest order that reaches what is missing, or the features that do."""
        fewer = "or ask for fewer irreps (a smaller `carry`, `hidden_lmax` in a preset)"
        for order in range(self.order + 1, MAX_ORDER + 1):
            higher = self.model_copy(update={"order": order})
            if all(higher._paths(irreps, one) for one in missing):
                return f"`order: {order}` reaches it (`correlation: {order}` in a preset), {fewer}"
        wanted = "+".join(f"{irreps.channels}x{irrep}" for irrep in missing)
        return f"add `{wanted}` to the features (raise `lmax` in a preset), {fewer}"

    def _paths(self, irreps: Irreps, irrep: Any) -> int:
        """Weights per channel and species for one resulting irrep."""
        leak = inversion_strength(self.relax)
        total = 0
        for nu in range(1, self.order + 1):
            for found, count in symmetric_power_paths(irreps.kinds, nu).items():
                if found.l == irrep.l and (found.p == irrep.p or leak):
                    total += count
        return total

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {
            "in": str(types[0].irreps),
            "out": str(self.out),
            "order": self.order,
            "species": len(scope.species),
            "relax": [dial.json() for dial in self.relax] or None,
        }

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        channels = self.out.channels or 0
        paths = sum(self._paths(types[0].irreps, irrep) for irrep in self.out.kinds)
        return channels * paths * len(scope.species)


def _even_channels(have: Irreps, want: Irreps) -> str:
    channels = min(block.mul for block in (have + want).blocks)
    return "+".join(f"{channels}x{block.irrep}" for block in have.blocks)
