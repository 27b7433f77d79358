"""Nonlinearities on features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import ArtifactError
from ..irreps import Block, Irreps
from .activations import ACTIVATIONS, second_moment_factor
from .base import Layer, Params
from .geometry import safe_norm
from .sphere import SphereAct, SphereSquare


class Pointwise(Layer):
    """A function of every number by itself, scaled to unit second moment under N(0, 1).

        y = c f(x)

    Shapes:    x [*, dim] -> y [*, dim]
    Units:     dimensionless
    Claims:    equivariant on invariant numbers (0e), and for odd f on 0o; breaks any group that mixes
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.f, self.factor = ACTIVATIONS[params["f"]], second_moment_factor(params["f"])

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x) * self.factor


class Gate(Layer):
    """Scalars pass an activation; every other irrep is scaled by a function of a scalar of its own.

        y = c_f f(scalars) (+) c_g g(gates_u) x_(m,u),   g the sigmoid unless told

    The functions are scaled to unit second moment under N(0, 1). The input is scalars (+) gates (+) gated,
    the output scalars (+) gated; scalars are the leading invariant blocks of the output. With an `odd`
    function the blocks 0o pass through that, and need no gate.

    Shapes:    x [*, in.dim] -> y [*, out.dim]
    Units:     dimensionless
    Claims:    O(3)-equivariant (SO(2): likewise)
    Reference: weiler2018steerable, section 4; e3nn Gate
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        source, out = Irreps.parse(params["in"]), Irreps.parse(params["out"])
        leading = 0
        while leading < len(out) and out[leading].size == 1 and out[leading].p >= 0:
            leading += 1
        self.gated = out.blocks[leading:]
        self.scalars = sum(block.mul for block in out.blocks[:leading])
        self.odd = params.get("odd")
        self.gates = sum(block.mul for block in self.gated if not self.passes(block))
        if source.dim != out.dim + self.gates:
            raise ArtifactError(
                f"a gate to `{out}` needs {self.gates} gates: {out.dim + self.gates} numbers, not `{source}`"
            )
        self.f, self.factor = ACTIVATIONS[params["f"]], second_moment_factor(params["f"])
        gate = params.get("gate", "sigmoid")
        self.gate, self.gate_factor = ACTIVATIONS[gate], second_moment_factor(gate)
        self.odd_factor = second_moment_factor(self.odd) if self.odd else 1.0

    def passes(self, block: Block) -> bool:
        """Whether a block of the output that is not invariant is an odd scalar with a function of its own."""
        return bool(self.odd) and block.size == 1

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.f(x[..., : self.scalars]) * self.factor] if self.scalars else []
        gates = self.gate(x[..., self.scalars : self.scalars + self.gates]) * self.gate_factor
        at = 0
        for block in self.gated:
            start = block.start + self.gates
            if self.odd and self.passes(block):
                parts.append(ACTIVATIONS[self.odd](x[..., start : start + block.dim]) * self.odd_factor)
                continue
            features = x[..., start : start + block.dim].unflatten(-1, (block.size, block.mul))
            parts.append((features * gates[..., None, at : at + block.mul]).flatten(-2))
            at += block.mul
        return torch.cat(parts, dim=-1)


class NormAct(Layer):
    """Scale each irrep by a function of its own norm.

        y_(m,u) = x_(m,u) f(|x_u|)

    Shapes:    x [*, dim] -> y [*, dim]
    Units:     dimensionless
    Claims:    equivariant under every orthogonal group
    Reference: e3nn NormActivation without normalisation of x
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.irreps, self.f = Irreps.parse(params["in"]), ACTIVATIONS[params["f"]]

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for block in self.irreps:
            features = x[..., block.slice].unflatten(-1, (block.size, block.mul))
            parts.append((features * self.f(safe_norm(features, dim=-2))).flatten(-2))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


class VectorRelu(Layer):
    """Take away what points against a direction of its own, irrep by irrep.

        y = q - <q, k> k / (|k|^2 + 1e-12)  where <q, k> < 0, else q

    q is the first half of the channels of a block, k the second.

    Shapes:    x [*, dim] -> y [*, dim / 2]
    Units:     those of x
    Claims:    equivariant under every orthogonal group; C^0
    Reference: deng2021vector
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.irreps = Irreps.parse(params["in"])
        if any(block.mul % 2 for block in self.irreps):
            raise ArtifactError(f"the channels of `{self.irreps}` have no halves")

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for block, piece in zip(self.irreps, x.split([b.dim for b in self.irreps], dim=-1), strict=True):
            q, k = piece.unflatten(-1, (block.size, block.mul)).chunk(2, dim=-1)
            along = (q * k).sum(-2, keepdim=True).clamp(max=0.0)
            parts.append((q - k * (along / ((k * k).sum(-2, keepdim=True) + 1e-12))).flatten(-2))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def act(params: Params) -> Layer:
    """The `act` step in one of its forms."""
    forms: dict[str, Callable[[Params], Layer]] = {
        "pointwise": Pointwise,
        "gate": Gate,
        "norm": NormAct,
        "vn_relu": VectorRelu,
        "s2": SphereAct,
        "s2_product": SphereSquare,
    }
    if params["form"] not in forms:
        raise ArtifactError(
            f"activation form `{params['form']}` is not known", help=f"known: {', '.join(forms)}"
        )
    return forms[params["form"]](params)
