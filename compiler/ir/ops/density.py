"""Messages of features that depend on the species alone, summed before they are weighted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Irreps
from ..types import Categories, Index, Type
from .base import Dial, IrrepsField, Op, Ref, Scope, Site, Work, expect_irreps, result_like
from .paths import Path, product_paths


class Density(Op):
    """The neighbour density of invariants that depend on the species alone, the radial matrix applied last.

        A_(i,k,m,u) = sum_s T_(s,u) sum_j W_(j,(k,u)) sum_(e -> i, from s) h_(e,j) Y_(e,m)

    What `gather`, `product` ("uvu") and `reduce` make of T[z], Y and the network h W, in another order: W, the
    last matrix of the `mlp` that `weights` names (with `last: false`), meets every node, not every edge.

    Type: species scalars, edge harmonics, edge h, node categories -> node R. Verdict: exact; that of the
    product. Reference: thomas2018tensor, with the sums exchanged.
    """

    kind: Literal["density"] = "density"
    of: tuple[Ref, Ref]
    weights: Ref
    species: Ref
    irreps: IrrepsField
    norm: Literal["sum", "average"] = "sum"
    relax: tuple[Dial, ...] = ()

    ports: ClassVar[tuple[str, ...]] = ("of", "weights", "species")
    reference: ClassVar[str] = "thomas2018tensor"

    def paths(self, types: Sequence[Type]) -> list[Path]:
        return product_paths(types[0].irreps, types[1].irreps, self.irreps, self.relax)

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        table, harmonics, weights, species = types
        if not (expect_irreps(table, site, "`density`") and expect_irreps(harmonics, site, "`density`")):
            return None
        if table.index is not Index.SPECIES or not table.irreps.all_scalar:
            site.error(
                Code.INDEX_MISMATCH,
                f"`density` weights neighbours by scalars of their species, but gets {table}",
                help="compute them from `all_species`, or use `gather`, `product` and `reduce`",
            )
            return None
        if not isinstance(species.rep, Categories):
            site.error(
                Code.REP_MISMATCH,
                f"`species` of a density needs species, but gets {species}",
                help="write `species: species`",
            )
            return None
        if not site.expect_one_set((harmonics, weights), "`density`"):
            return None
        paths = self.paths(types)
        if {path.out.irrep for path in paths} != set(self.irreps.kinds) or harmonics.irreps.channels != 1:
            site.error(
                Code.UNREACHABLE_IRREPS,
                f"scalars and `{harmonics.irreps.short}` make no `{self.irreps.short}`",
                help="ask for irreps of the harmonics, of which there is one copy each",
            )
            return None
        rep = Irreps(tuple(path.out for path in paths))
        result = result_like((harmonics, table, weights), rep=rep, index=species.index, unit=table.unit)
        result = result.with_(smooth=min(result.smooth, max(harmonics.fades, weights.fades)))
        parities = [
            table.irreps.blocks[p.left].irrep.p * harmonics.irreps.blocks[p.right].irrep.p for p in paths
        ]
        if any(path.scale != 1 or path.out.irrep.p != p for path, p in zip(paths, parities, strict=True)):
            reason = "paths that parity forbids enter it"
            result = result.with_(holds=site.broken(result.holds, ("inversion",), reason))
        return result

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {
            "left": str(types[0].irreps),
            "right": str(types[1].irreps),
            "out": str(result.rep),
            "paths": [[path.left, path.right, k, path.scale] for k, path in enumerate(self.paths(types))],
            "species": len(scope.species),
            "norm": self.norm,
            "mlp": self.weights,
        }

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        terms = types[1].dim * types[2].dim
        count = len(scope.species)
        flops = 2 * count * types[2].dim * sum(path.out.dim for path in self.paths(types))
        return {
            Index.EDGE: Work(2 * terms, terms),
            result.index: Work(flops, 2 * count * terms + 2 * result.dim),
        }
