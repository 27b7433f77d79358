"""Functions of the length of an edge and of the two elements at its ends."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ArtifactError
from .base import Constant, Layer, Params
from .radial import envelope_of

# of JCP 159, 164101, as published models have them
_AGNESI = {"a": 1.0805, "q": 0.9183, "p": 4.5791}
_SOFT = 4.0
# eV Å, and Å
_COULOMB, _BOHR = 14.3996, 0.529
_SCREENING = ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4028), (0.02817, 0.2016))


def _sums(values: Tensor) -> Tensor:
    """v_i + v_j of every ordered pair, flat as `pair_kind` counts them: [n^2, 1]."""
    return (values[:, None] + values[None, :]).reshape(-1, 1)


class Transform(Layer):
    """The length of an edge on a scale of the two atoms at its ends.

        agnesi:  y = 1 / (1 + a x^q / (1 + x^(q - p))),  x = 2 r / R,   R = R_i + R_j
        soft:    y = s + (r - s) (1 + tanh(4 (r - m) / (w R))) / 2,  s = 3/4 R, w = 4/3 - 3/4, m = (3/4 + 4/3) R / 2

    At r = 0 agnesi is 1, its limit, with gradient 0.

    Shapes:    r [edge, 1], pairs [edge] -> y [edge, 1]
    Units:     r and the covalent radii R_i in Å; y dimensionless, of soft in parts of 1 Å
    Claims:    invariant; analytic for r > 0
    Reference: witt2023acepotentials (agnesi); batatia2023foundation (soft)
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        forms = {"agnesi": self._agnesi, "soft": self._soft}
        if params["form"] not in forms:
            raise ArtifactError(
                f"transform `{params['form']}` is not known", help=f"known: {', '.join(forms)}"
            )
        self.form = forms[params["form"]]
        self.radii = Constant(_sums(torch.tensor(params["radii"], dtype=torch.float64)))

    def forward(self, r: Tensor, pairs: Tensor) -> Tensor:
        return self.form(r, self.radii.value.index_select(0, pairs))

    def _agnesi(self, r: Tensor, radii: Tensor) -> Tensor:
        zero = (r == 0.0).to(r.dtype)
        x = 2.0 * r / radii + zero
        rise = _AGNESI["a"] * x ** _AGNESI["q"] / (1.0 + x ** (_AGNESI["q"] - _AGNESI["p"]))
        return 1.0 / (1.0 + rise * (1.0 - zero))

    def _soft(self, r: Tensor, radii: Tensor) -> Tensor:
        low, high = 0.75 * radii, (4.0 / 3.0) * radii
        step = 0.5 * (1.0 + torch.tanh(_SOFT / (high - low) * (r - 0.5 * (low + high))))
        return low + (r - low) * step


class Zbl(Layer):
    """The repulsion of two screened nuclei, half of it on each direction of an edge.

        E = f 14.3996 Z_i Z_j / (2 r) phi(r / a) u(r / (R_i + R_j)),   a = 0.4543 · 0.529 / (Z_i^0.3 + Z_j^0.3)
        phi(x) = 0.1818 e^(-3.2 x) + 0.5099 e^(-0.9423 x) + 0.2802 e^(-0.4028 x) + 0.02817 e^(-0.2016 x)

    u is the polynomial that ends it where the covalent radii touch, 0 beyond. At r = 0 the value is 0.

    Shapes:    r [edge, 1], pairs [edge] -> E [edge] float64
    Units:     r in Å; E in eV times the factor f
    Claims:    invariant; C2 where it ends
    Reference: ziegler1985stopping; cordero2008covalent (radii)
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        charges = torch.tensor(params["numbers"], dtype=torch.float64)
        self.factor = 0.5 * _COULOMB * float(params["factor"])
        self.charges = Constant((charges[:, None] * charges[None, :]).reshape(-1, 1))
        self.lengths = Constant(0.4543 * _BOHR / _sums(charges**0.3))
        self.radii = Constant(_sums(torch.tensor(params["radii"], dtype=torch.float64)))
        self.envelope = envelope_of({"polynomial": params["envelope"]}, 1.0)

    def forward(self, r: Tensor, pairs: Tensor) -> Tensor:
        charges, length, radii = (
            table.value.index_select(0, pairs) for table in (self.charges, self.lengths, self.radii)
        )
        zero = (r == 0.0).to(r.dtype)
        x = r / length
        screened = sum(weight * torch.exp(-rate * x) for weight, rate in _SCREENING)
        energy = self.factor * charges * (1.0 - zero) / (r + zero) * screened * self.envelope(r / radii)
        return energy.squeeze(-1).to(torch.float64)
