"""Tensor products of features with the harmonics of an edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...language.wording import count_of
from ...symmetry.irreps import Irrep, Irreps, harmonics
from ..types import Type
from .base import MAX_HARMONICS, MAX_SIZE, Dial, IrrepsField, Op, Ref, Scope, Site, expect_irreps, result_like
from .paths import Path, product_paths


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
