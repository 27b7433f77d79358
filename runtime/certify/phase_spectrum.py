"""How a flow responds to rotation: equivariance errors and spectra by frequency, of field and energy."""

from __future__ import annotations

import numpy as np
from equic.runtime.errors import EquicError
from numpy.typing import NDArray

from .baseline import rms
from .phase_symmetry import Coordinate, coordinates_of, on_both, rotation_matrix
from .spectrum import Content, Spectrum
from .subject import Subject

Array = NDArray[np.float64]

_ANGLES = 256  # frequencies above 128 less the largest that is shown would be taken for lower ones


def phase_spectrum(subject: Subject, states: Array, *, lmax: int) -> Spectrum:
    """A and B of a phase-space model over SO(2), for every block of the field and for H.

        A² = mean over angles of |z − mean z|²,   z(a) = R(−a) f(R(a) x)
        B_m = (2 − [m = 0]) |mean over angles of f(R(a) x) exp(−i m a)|²

    over 256 angles; components and states are averaged before the root. B of H is that of H less its mean over
    states and angles, which means nothing. `lmax` is the largest frequency that is shown.

    Shapes: states [M, D]

    Raises:
        EquicError: no coordinate turns.
    """
    coordinates = coordinates_of(subject.plan)
    if not any(item.rep.group == "SO(2)" for item in coordinates):
        raise EquicError(
            f"no coordinate of `{subject.plan.name}` turns under SO(2)",
            help="declare how they transform: `coordinates: {q: 2x1}`",
        )
    angles = 2.0 * np.pi * np.arange(_ANGLES) / _ANGLES
    turned = np.stack([on_both(rotation_matrix(coordinates, angle))(states) for angle in angles])
    flow = subject.flow(turned)
    back = np.stack(
        [on_both(rotation_matrix(coordinates, -angle))(f) for angle, f in zip(angles, flow, strict=True)]
    )
    half = states.shape[-1] // 2
    contents = []
    for name, start in (("d{}/dt", 0), ("dp({})/dt", half)):
        for item in coordinates:
            contents += _blocks(name.format(item.name), item, start, flow, back, lmax)
    if subject.has_hamiltonian:
        energy = subject.hamiltonian(turned)[..., None]
        energy -= energy.mean()
        contents.append(_content("hamiltonian", "1x0", energy, energy, lmax))
    return Spectrum(tuple(contents), lmax, _ANGLES // 2, len(states), subject.dtype, "SO(2)")


def _blocks(name: str, item: Coordinate, start: int, flow: Array, back: Array, lmax: int) -> list[Content]:
    found = []
    for block in item.rep:
        place = slice(start + item.start + block.start, start + item.start + block.start + block.dim)
        word = f"{block.mul}x{block.l}"
        found.append(_content(name, word, flow[..., place], back[..., place], lmax))
    return found


def _content(name: str, block: str, values: Array, back: Array, lmax: int) -> Content:
    """What values under all angles [A, M, n] hold, and how much those turned back vary."""
    size = rms(values)
    if size == 0.0:
        return Content(name, block, "1", 0.0, {"SO(2)": 0.0}, {})
    waves = np.abs(np.fft.rfft(values, axis=0) / len(values)) ** 2
    power = waves.mean(axis=(1, 2))
    power[1:-1] *= 2.0  # a real function has e^(-ima) as it has e^(ima); the last stands for both already
    shares = {str(m): float(power[m]) / size**2 for m in range(lmax + 1)}
    shares["above"] = max(0.0, 1.0 - sum(shares.values()))
    error = float(np.sqrt(back.var(axis=0).mean())) / size
    return Content(name, block, "1", size, {"SO(2)": error}, shares)
