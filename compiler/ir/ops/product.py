"""Tensor products: of features with harmonics, or of features with features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...language.codes import Code
from ...language.wording import count_of
from ...symmetry.irreps import Irrep, Irreps, harmonics
from ...symmetry.units import Unit
from ..types import Hold, Index, Type
from .base import (
    MAX_HARMONICS,
    MAX_SIZE,
    Dial,
    IrrepsField,
    Op,
    Ref,
    Scope,
    Site,
    Work,
    expect_irreps,
    result_like,
)
from .paths import (
    CHANNELWISE,
    ON_SPHERE,
    SUMMING,
    Connection,
    OnSphere,
    Path,
    product_paths,
    weights_of,
)
from .product_cp import factor_lists, factored_paths, factored_work, infer_factored
from .product_sphere import grid_degree, infer_on_sphere, sphere_paths
from .product_work import channelwise_work, connected_work, convolution_work, sphere_work
from .sphere import GridDegree


class Product(Op):
    """Tensor product of two features by Clebsch-Gordan coefficients, weighted path by path.

        y_(k,m3) = sqrt(2l3+1) sum_(m1,m2) C^(l1 l2 l3)_(m1 m2 m3) x_(m1) Y_(m2) w_k,   channels as in `mode`

    - uvu: y_u = sum_v w_uv x_u Y_v. With one copy of every harmonic: a convolution, channel by channel.
    - uvv: y_v = sum_u w_uv x_u Y_v.
    - uvw: y_w = sum_uv w_uvw x_u Y_v over all paths: fully connected.
    - separable: uvw with w_uvw = a_uw b_vw, of rank 1.
    - uuu: y_u = w_u x_u Y_u. elementwise: the same of block k with block k, without weights.
    - gaunt: the product of both sides as functions on the sphere, y_u(n) = x_u(n) Y_u(n), by Gaunt coefficients:
      all paths add up, those with odd l1+l2+l3 (cross products) are missing, and there are no weights.
    - s2grid: the same by the points of a grid. Exact where the grid integrates `degree` >= l1+l2+l3 exactly, as
      it does by default with the fewest points; on a coarser grid approximate, to a measured error.
    - cp: all couplings at once as a sum of `rank` products, y_u = w_u sum_r A_r (B_r . x_u)(C_r . Y_u), with one
      weight for each channel. Exact without `rank`; with fewer terms approximate, to the error of the truncation.

    `weights` names numbers that weight every element by itself (a radial `mlp`); without it they are learned,
    and shared by all elements. `irreps` says which results are wanted; in `uvw` and `separable` it is the
    result. Sums over n channels and paths are divided by sqrt(n). Inner products of all irreps and cross
    products have ops of their own, `inner` and `cross`.

    Type: R1, R2 -> the wanted part of R1 x R2; units multiply. Verdict: exact; under a relaxed inversion the
    paths that parity forbids enter scaled by s and break it; weights must be invariant.
    """

    kind: Literal["product"] = "product"
    of: tuple[Ref, Ref]
    weights: Ref | None = None
    irreps: IrrepsField
    mode: Connection | OnSphere | Literal["cp"] = "uvu"
    degree: GridDegree | None = None
    rank: Annotated[int, Field(ge=1, le=1024, strict=True)] | None = None
    relax: tuple[Dial, ...] = ()

    ports: ClassVar[tuple[str, ...]] = ("of", "weights")
    reference: ClassVar[str] = "thomas2018tensor"

    def cites(self) -> str:
        return {"gaunt": "luo2024gaunt", "s2grid": "luo2024gaunt", "cp": "lin2025tdn"}.get(
            self.mode, self.reference
        )

    def paths(self, types: Sequence[Type]) -> list[Path]:
        left, right = types[0].irreps, types[1].irreps
        if self.mode in ON_SPHERE:
            return sphere_paths(left, right, self.irreps)
        if self.mode == "cp":
            return factored_paths(left, right, self.irreps)
        return product_paths(left, right, self.irreps, self.relax, self.mode)

    def weight_count(self, types: Sequence[Type]) -> int:
        """How many weights the product takes, on every element or in all."""
        left, right = types[0].irreps, types[1].irreps
        if self.mode == "cp":
            return left.channels or 0
        return sum(weights_of(path, left, right, self.mode) for path in self.paths(types))

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        left, right = types[:2]
        if not (expect_irreps(left, site, "`product`") and expect_irreps(right, site, "`product`")):
            return None
        if not site.expect_one_set(types, "`product`"):
            return None
        if self.mode in ON_SPHERE:
            return self._on_sphere(types, site)
        if self.mode != "cp" and not self._channels_fit(left, right, site):
            return None
        paths = self.paths(types)
        reached = {path.out.irrep for path in paths}
        if unreachable := [irrep for irrep in self.irreps.kinds if irrep not in reached]:
            self._unreachable(left.irreps, right.irreps, unreachable, site)
            return None
        if not self._weights_fit(types, site):
            return None
        if self.mode == "cp":
            return self._factored(types, site)
        rep = self.irreps if self.mode in SUMMING else Irreps(tuple(path.out for path in paths))
        affine = any(one.affine for one in types)
        fades = max(one.fades for one in types)
        result = result_like(types, rep=rep, unit=_product_unit(types), affine=affine, fades=fades)
        if any(path.scale != 1 or not _allowed(left.irreps, right.irreps, path) for path in paths):
            reason = "paths that parity forbids enter it"
            result = result.with_(holds=site.broken(result.holds, ("inversion",), reason))
        return result.with_(holds=self._weighted(types, result, site))

    def _on_sphere(self, types: Sequence[Type], site: Site) -> Type | None:
        found = infer_on_sphere(self, types, site)
        if found is None or not self._weights_fit(types, site):
            return None
        rep, holds = found
        fades = max(one.fades for one in types)
        return result_like(types, rep=rep, holds=holds, unit=_product_unit(types), fades=fades)

    def _factored(self, types: Sequence[Type], site: Site) -> Type | None:
        found = infer_factored(self, types, site)
        if found is None:
            return None
        rep, holds = found
        fades = max(one.fades for one in types)
        result = result_like(types, rep=rep, holds=holds, unit=_product_unit(types), fades=fades)
        return result.with_(holds=self._weighted(types, result, site))

    def _channels_fit(self, left: Type, right: Type, site: Site) -> bool:
        """Report channels that cannot be paired."""
        a, b = left.irreps, right.irreps
        if self.mode == "elementwise":
            fine = [block.mul for block in a] == [block.mul for block in b]
            wanted = "blocks of equal multiplicity, one by one"
        else:
            fine = self.mode not in CHANNELWISE or (a.channels is not None and a.channels == b.channels)
            wanted = "one number of channels on both sides"
        if not fine:
            site.error(
                Code.CHANNELS_UNEQUAL,
                f"a product of mode `{self.mode}` needs {wanted}, but gets `{a.short}` and `{b.short}`",
                help="bring one side to the other's channels with a `linear`, or write `mode: uvw`",
            )
        return fine

    def _unreachable(self, left: Irreps, right: Irreps, missing: Sequence[Irrep], site: Site) -> None:
        names = " and ".join(f"`{irrep}`" for irrep in missing)
        message = f"no path of `{left.short}` with `{right.short}` reaches {names}"
        if right.channels != 1:  # not harmonics
            reached = sorted(
                {c for a in left.kinds for b in right.kinds for c in a * b}, key=lambda c: c.order
            )
            some = ", ".join(f"`{irrep}`" for irrep in reached[:6])
            site.error(Code.UNREACHABLE_IRREPS, message, help=f"ask for some of {some}, or multiply others")
            return
        enough = _harmonics_for(left, missing)
        site.error(
            Code.UNREACHABLE_PARITY if enough is None else Code.UNREACHABLE_IRREPS,
            message,
            help=f"harmonics of degree l have parity (-1)^l: {_reflected(left, missing)}"
            if enough is None
            else f"harmonics up to {enough} reach {'it' if len(missing) == 1 else 'them'}: write "
            f"`harmonics: {enough}`, `lmax: {enough}` in a preset or an `sph`; or ask for fewer irreps",
        )

    def _weights_fit(self, types: Sequence[Type], site: Site) -> bool:
        """Report a wrong number of weights."""
        count = self.weight_count(types)
        if count > MAX_SIZE:
            where = "on every edge" if self.weights else "in all"
            site.error(
                Code.IRREPS_TOO_LARGE,
                f"the product has {count:,} path weights {where}, above {MAX_SIZE:,}",
                help="ask for fewer channels, or lower degrees",
            )
            return False
        if self.weights is None or types[2].dim == count:
            return True
        site.error(
            Code.PATH_WEIGHTS,
            f"the product has {count_of(count, 'path weight')}, but `{self.weights}` gives "
            f"{count_of(types[2].dim, 'number')}",
            help=f"let it end in {count_of(count, 'number')}: `out: {count}`"
            if count
            else f"leave `weights` out: products of mode `{self.mode}` have none",
        )
        return False

    def _weighted(self, types: Sequence[Type], result: Type, site: Site) -> dict[str, Hold]:
        """The verdict once the weights have entered: they must be invariant."""
        holds = dict(result.holds)
        if self.weights is None:
            return holds
        rep = types[2].rep
        reason = f"its weights, `{rep.short if isinstance(rep, Irreps) else rep}`, are not invariant"
        if not isinstance(rep, Irreps) or not rep.all_scalar:
            holds = site.broken(holds, ("SO(3)",), reason)
        if not isinstance(rep, Irreps) or any(block.irrep.p < 0 for block in rep):
            holds = site.broken(holds, ("inversion",), reason)
        return holds

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        paths = [[path.left, path.right, path.into, path.scale] for path in self.paths(types)]
        left, right = types[0].irreps, types[1].irreps
        params = {"left": str(left), "right": str(right), "out": str(result.rep)}
        if self.mode == "uvu" and self.weights is not None and all(block.mul == 1 for block in right):
            return {**params, "mode": "uvu", "paths": paths}
        if self.mode in ON_SPHERE:
            return {**params, "mode": self.mode, "degree": grid_degree(self, types)}
        learned = self.weights is None and self.weight_count(types) > 0
        if self.mode == "cp":
            return {
                **params,
                "mode": "cp",
                "learned": learned,
                "factors": factor_lists(self, types, result),
            }
        return {**params, "mode": "connected", "connection": self.mode, "learned": learned, "paths": paths}

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        return 0 if self.weights is not None else self.weight_count(types)

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        left, right = types[0].irreps, types[1].irreps
        paths = self.paths(types)
        if self.mode == "cp":
            flops, kept = factored_work(self, types, result)
        elif self.mode == "s2grid":
            flops, kept = sphere_work(grid_degree(self, types), left, right, result.irreps)
        elif self.mode in CHANNELWISE | {"separable", "gaunt"}:
            flops, kept = channelwise_work(paths, left, right, self.mode)
        elif self.mode == "uvu" and self.weights is not None and all(block.mul == 1 for block in right):
            flops, kept = convolution_work(paths, left, right)
        else:
            flops, kept = connected_work(paths, left, right, self.mode)
        kept += result.dim
        return {result.index: Work(flops, kept, ways=2)}


def _product_unit(types: Sequence[Type]) -> Unit:
    unit = types[0].unit
    for other in types[1:]:
        unit = unit * other.unit
    return unit


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
