"""Tensor products: of features with harmonics (edges), and of features with themselves (many bodies)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Block, Irreps, symmetric_power_paths
from ..types import Type
from .base import Dial, IrrepsField, Op, Ref, Scope, Site, expect_irreps, result_like


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
        paths = self.paths(types)
        unreachable = [
            irrep for irrep in self.irreps.kinds if not any(path.out.irrep == irrep for path in paths)
        ]
        if unreachable:
            site.error(
                Code.UNREACHABLE_IRREPS,
                f"no path of `{left.irreps}` with `{right.irreps}` reaches "
                + " and ".join(f"`{irrep}`" for irrep in unreachable),
                help="degree l needs harmonics up to l, and parity (-1)^l unless inversion is free: "
                "raise `harmonics`, or ask for fewer irreps",
            )
            return None
        count = sum(path.out.mul for path in paths)
        if weights.dim != count:
            site.error(
                Code.REP_MISMATCH,
                f"the product has {count} path weights, but `{self.weights}` gives {weights.dim} numbers",
                help=f"let it end in {count} numbers",
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
    order: int
    out: IrrepsField
    relax: tuple[Dial, ...] = ()

    ports: ClassVar[tuple[str, ...]] = ("of", "species")
    reference: ClassVar[str] = "batatia2022mace"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        a = types[0]
        if not expect_irreps(a, site, "`power`"):
            return None
        if a.irreps.channels is None or a.irreps.channels != self.out.channels:
            site.error(
                Code.CHANNELS_UNEQUAL,
                f"a symmetric power needs one number of channels, but gets `{a.irreps}` -> `{self.out}`",
                help=f"write `{_even_channels(a.irreps, self.out)}`",
            )
            return None
        missing = [irrep for irrep in self.out.kinds if not self._paths(a.irreps, irrep)]
        if missing:
            site.error(
                Code.UNREACHABLE_IRREPS,
                f"no product of up to {self.order} features `{a.irreps}` gives "
                + " and ".join(f"`{irrep}`" for irrep in missing),
                help="raise the degree of the features, or the order",
            )
            return None
        result = result_like(types, rep=self.out)
        if self.relax and inversion_strength(self.relax):
            reason = "products that parity forbids enter it"
            result = result.with_(holds=site.broken(result.holds, ("inversion",), reason))
        return result

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
