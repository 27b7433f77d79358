"""Frames: rotations that take space to axes of its own, of an edge or of a system, as matrices of every degree."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import ArtifactError
from ..tables.wigner import wigner_3j
from .base import Constant, Layer, Params

POLE = 1  # the polar axis of the real harmonics is y


class WignerMatrices(nn.Module):
    """D_0 (+) D_1 (+) ... of orthogonal matrices, flat.

    D_1 = Q, and D_l is D_(l-1) coupled with Q: polynomials of Q, so derivatives of any order exist. Of an
    improper Q these are the matrices of natural parity, (-1)^l for the inversion.

    Shapes:    Q [n, 3, 3] -> [n, sum (2l + 1)^2]
    """

    def __init__(self, lmax: int) -> None:
        super().__init__()
        self.lmax = lmax
        self.ups = nn.ModuleList(
            Constant(torch.tensor(wigner_3j(l - 1, 1, l)).permute(2, 1, 0).reshape(-1, 2 * l - 1))
            for l in range(2, lmax + 1)
        )
        self.downs = nn.ModuleList(
            Constant(torch.tensor(wigner_3j(l - 1, 1, l) * (2 * l + 1)).reshape(-1, 2 * l + 1))
            for l in range(2, lmax + 1)
        )

    def forward(self, q: Tensor) -> Tensor:
        parts, last = [torch.ones_like(q[:, :1, 0])], q
        if self.lmax > 0:
            parts.append(q.flatten(1))
        for l, (up, down) in enumerate(zip(self.ups, self.downs, strict=True), start=2):
            half = (up() @ last).unflatten(1, (2 * l + 1, 3)).transpose(2, 3)  # [n, m, c, b]
            both = half.flatten(1, 2) @ q  # [n, m c, d]
            last = both.unflatten(1, (2 * l + 1, 2 * l - 1)).flatten(2) @ down()
            parts.append(last.flatten(1))
        return torch.cat(parts, dim=1)


class EdgeFrame(Layer):
    """The rotation that takes each vector to the polar axis y.

        Q v / |v| = y,   Q = 1 + K + K^2 / (1 + u_y),   K = [u x y]_x,   u = v / |v|

    the smallest such rotation, for vectors in the half space u_y >= 0; the others are first turned by pi about
    x. So Q and its derivatives are bounded everywhere; it jumps by a rotation about y where u_y = 0, and has
    no direction to turn to where v = 0 (there it is 1). What is equivariant about y does not see the jump.

    Shapes:    v [n, 3] -> [n, sum (2l + 1)^2]
    Units:     dimensionless
    Claims:    Q(g v) = h Q(v) g^-1, h a rotation about y
    Reference: passaro2023escn
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.matrices = WignerMatrices(int(params["lmax"]))
        self.flip = Constant(torch.tensor([1.0, -1.0, -1.0]))
        self.one = Constant(torch.eye(3))
        cross = torch.zeros(3, 3, 3)  # [w]_x of w = u x y, linear in u
        cross[0, 0, 1], cross[0, 1, 0] = -1.0, 1.0  # w_z = u_x
        cross[2, 1, 2], cross[2, 2, 1] = 1.0, -1.0  # w_x = -u_z
        self.turn = Constant(cross.reshape(3, 9))

    def forward(self, v: Tensor) -> Tensor:
        return self.matrices(self.rotations(v))

    def rotations(self, v: Tensor) -> Tensor:
        """Q: [n, 3, 3]."""
        squared = (v * v).sum(-1, keepdim=True)
        u = v * torch.rsqrt(squared + (squared == 0.0))
        signs = torch.where(u[:, POLE : POLE + 1] < 0.0, self.flip(), torch.ones_like(self.flip()))
        u = u * signs
        k = (u @ self.turn()).unflatten(1, (3, 3))
        q = self.one() + k + k @ k / (1.0 + u[:, POLE])[:, None, None]
        return q * signs[:, None, :]


class GramSchmidtFrame(Layer):
    """The right-handed frame of two vectors.

        e1 = a / |a|,   e2 = b - <b, e1> e1 normalised,   e3 = e1 x e2;   Q = rows (e1, e2, e3)

    Not continuous where a and b are parallel, or one of them is 0.

    Shapes:    a, b [n, 3] -> [n, sum (2l + 1)^2]
    Units:     dimensionless
    Claims:    Q(g a, g b) = Q(a, b) g^-1 for rotations g
    Reference: puny2022frame
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.matrices = WignerMatrices(int(params["lmax"]))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        e1 = _unit(a)
        e2 = _unit(b - (b * e1).sum(-1, keepdim=True) * e1)
        return self.matrices(torch.stack((e1, e2, torch.linalg.cross(e1, e2, dim=-1)), dim=1))


class PcaFrame(Layer):
    """The principal axes of each system's positions, longest first.

        Q = rows e_k,   C e_k = c_k e_k,   C = sum_i (x_i - mean)(x_i - mean)^T,   sum_i <x_i - mean, e_k>^3 > 0

    The third moment gives each axis its sign. Not continuous where two c_k meet or a third moment vanishes
    (planar and symmetric molecules), where derivatives are unbounded.

    Shapes:    positions [node, 3], system [node], cell [system, 3, 3] -> [system, sum (2l + 1)^2]
    Units:     dimensionless; computed in the dtype of the positions, then cast to the model's
    Claims:    Q(g x) = Q(x) g^-1 for rotations and reflections g; invariant under translation and permutation
    Reference: puny2022frame
    """

    fields: ClassVar = ("system", "cell")

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.matrices = WignerMatrices(int(params["lmax"]))
        self.like = Constant(torch.zeros(()))

    def forward(self, positions: Tensor, system: Tensor, cell: Tensor) -> Tensor:
        def total(values: Tensor) -> Tensor:
            return values.new_zeros((cell.shape[0], *values.shape[1:])).index_add(0, system, values)

        counts = total(torch.ones_like(positions[:, :1]))
        x = positions - (total(positions) / counts.clamp(min=1.0)).index_select(0, system)
        axes = torch.linalg.eigh(total(x[:, :, None] * x[:, None, :])).eigenvectors.flip(-1).transpose(1, 2)
        along = (axes.index_select(0, system) @ x[:, :, None])[..., 0]
        signs = torch.where(total(along**3) < 0.0, -1.0, 1.0)
        return self.matrices((axes * signs[:, :, None]).to(self.like().dtype))


def _unit(v: Tensor) -> Tensor:
    squared = (v * v).sum(-1, keepdim=True)
    return v * torch.rsqrt(squared + (squared == 0.0))


def frame(params: Params) -> Layer:
    """The `frame` step in one of its forms."""
    forms: dict[str, type[EdgeFrame] | type[GramSchmidtFrame] | type[PcaFrame]] = {
        "edge_z": EdgeFrame,
        "gram_schmidt": GramSchmidtFrame,
        "pca": PcaFrame,
    }
    if params["form"] not in forms:
        raise ArtifactError(f"frame `{params['form']}` is not known", help=f"known: {', '.join(forms)}")
    return forms[params["form"]](params)
