"""Facet's two parts: spline radial functions that end by themselves, and networks on a sphere."""

import math

import numpy as np
import pytest
import torch
from e3nn import o3
from scipy.interpolate import BSpline

SECTION = {
    "architecture": "facet",
    "channels": 4,
    "lmax": 2,
    "layers": 1,
    "splines": 8,
    "degree": 48,
    "mixer": [8],
    "readout": [8],
}
SYMMETRY = {"O(3)": {"hard": {"within": 0.05}}}


@pytest.fixture(autouse=True)
def _double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_the_radial_functions_are_cubic_splines_and_the_energy_is_twice_differentiable(presets):
    model = presets.built(SECTION, symmetry=SYMMETRY)
    assert model.plan.smoothness["energy"] == 2
    inputs = presets.molecule(seed=1)
    source, target = inputs["edges"]
    r = (inputs["positions"][target] - inputs["positions"][source]).norm(dim=1).numpy()
    h = 3.5 / 8
    basis = [BSpline.basis_element(h * np.arange(k - 3, k + 2), extrapolate=False)(r) for k in range(8)]
    weight = model.layer("layer1.weights").weight.detach().numpy().reshape(8, -1)
    expected = np.nan_to_num(np.stack(basis, axis=1)) @ weight / math.sqrt(8)
    found = model.intermediate(inputs, "layer1.weights").numpy()
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_the_mixer_is_an_integral_over_the_sphere(presets):
    """By Gauss and Legendre in the height and equal steps about the axis, with e3nn's harmonics."""
    model = presets.built(SECTION, symmetry=SYMMETRY)
    inputs = presets.molecule(seed=1)
    before = model.intermediate(inputs, "layer1.update")
    heights, weights = np.polynomial.legendre.leggauss(60)
    angles = np.arange(120) * 2 * np.pi / 120
    height, angle = (grid.ravel() for grid in np.meshgrid(heights, angles, indexing="ij"))
    across = np.sqrt(1 - height**2)
    points = torch.from_numpy(np.stack((across * np.cos(angle), across * np.sin(angle), height), axis=1))
    measure = torch.from_numpy(np.repeat(weights, 120) / 2 / 120)
    sphere = o3.spherical_harmonics([0, 1, 2], points, False, normalization="component")
    # values have variance 1 where features have: each degree enters by 1 / sqrt(2l + 1), the sum by 1 / sqrt(3)
    unit = torch.tensor([math.sqrt(3 * (2 * l + 1)) for l in range(3) for _ in range(2 * l + 1)])
    x = torch.cat([before[:, 4 * l * l : 4 * (l + 1) ** 2].view(-1, 2 * l + 1, 4) for l in range(3)], dim=1)
    values = torch.einsum("nmc,pm->npc", x, sphere / unit)
    network = model.layer("layer1.network")
    factor = network.factor
    hidden = torch.nn.functional.silu(values @ network.weights[0] / math.sqrt(4)) * factor
    mixed = torch.einsum(
        "p,npc,pm->nmc", measure, (hidden @ network.weights[1] / math.sqrt(8)).detach(), sphere * unit
    )
    found = model.intermediate(inputs, "layer1.mixed")
    back = torch.cat([found[:, 4 * l * l : 4 * (l + 1) ** 2].view(-1, 2 * l + 1, 4) for l in range(3)], dim=1)
    assert float((back - mixed).abs().max()) < 1e-4 * float(mixed.abs().max())
