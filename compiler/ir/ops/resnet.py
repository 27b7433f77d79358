"""Dense networks of one label each, with shortcuts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps
from ...symmetry.units import Unit
from ..types import Categories, Index, Type
from .activations import SMOOTHNESS, Activation
from .base import Op, Ref, Scope, Site, Size, Work, expect_irreps, result_like


class Resnet(Op):
    """A dense network for every species (or pair of them), each layer with a shortcut where sizes allow.

        x' = f(x W_z + b_z) + x     equal widths        x' = f(x W_z + b_z) + (x, x)     where they double

    `out` adds a linear layer at the end; `timestep` multiplies f by learned numbers in layers with a shortcut.
    Type: n x 0e, labels -> m x 0e. Verdict: exact on invariants.
    """

    kind: Literal["resnet"] = "resnet"
    of: Ref
    species: Ref
    widths: tuple[Size, ...]
    out: Size | None = None
    activation: Activation = "tanh"
    timestep: bool = False

    ports: ClassVar[tuple[str, ...]] = ("of", "species")
    reference: ClassVar[str] = "zhang2018deeppotse"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        x, z = types
        if not expect_irreps(x, site, "`resnet`") or not site.expect_one_set(types, "`resnet`"):
            return None
        if not isinstance(z.rep, Categories) or not (self.widths or self.out):
            site.error(
                Code.REP_MISMATCH,
                f"`resnet` needs species and at least one layer, but gets {z} and {len(self.widths)}",
                help="write `species: species` and `widths: [25, 50]`",
            )
            return None
        smooth = min(x.smooth, SMOOTHNESS.get(self.activation, x.smooth))
        rep = Irreps((Block(self._sizes(x)[-1], Irrep(0, 1)),))
        result = result_like(types, rep=rep, unit=Unit.parse("1"), smooth=smooth)
        holds = dict(result.holds)
        if not x.irreps.all_scalar:
            holds = site.broken(holds, ("SO(3)",), "a dense layer mixes the components of its input")
        if any(block.irrep.p < 0 for block in x.irreps):
            holds = site.broken(holds, ("inversion",), "a dense layer mixes parities")
        return result.with_(holds=holds)

    def _sizes(self, x: Type) -> list[int]:
        return [x.dim, *self.widths, *([self.out] if self.out else [])]

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {
            "in": types[0].dim,
            "species": self._labels(types[1]),
            "widths": list(self.widths),
            "out": self.out,
            "act": self.activation,
            "timestep": self.timestep,
        }

    @staticmethod
    def _labels(z: Type) -> int:
        assert isinstance(z.rep, Categories)
        return len(z.rep.names)

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        return self._labels(types[1]) * weights_of(self._sizes(types[0]), len(self.widths) * self.timestep)

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        return {result.index: dense_work(self._sizes(types[0]), self._labels(types[1]))}


# up to so many labels, every row meets the matrices of all of them in one product, as the layer does
_FEW = 16


def dense_work(sizes: Sequence[int], labels: int) -> Work:
    """Dense layers with a matrix for every label."""
    copies = labels if labels <= _FEW else 1
    pairs = list(pairwise(sizes))
    flops = 2.0 * copies * sum(a * b for a, b in pairs)
    return Work(flops, float(sum(a * copies + 4 * b for a, b in pairs)))


def weights_of(sizes: Sequence[int], timed: int = 0) -> int:
    """The numbers of one label's network: matrices and biases between `sizes`, time steps in the first `timed`."""
    steps = [b for a, b in list(pairwise(sizes))[:timed] if b in (a, 2 * a)]
    return sum(a * b + b for a, b in pairwise(sizes)) + sum(steps)
