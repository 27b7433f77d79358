"""Character spectra: known functions have their known content, and models what they claim."""

import json
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from equic.runtime.artifact import save_artifact
from equic.runtime.build import Model, build_module
from equic.runtime.certify import atoms_dynamics
from equic.runtime.certify.atoms_symmetry import equivariance_errors
from equic.runtime.certify.baseline import measure_baseline
from equic.runtime.certify.frames import random_frames
from equic.runtime.certify.quadrature import character_content, rotation_rule, share_of, variance
from equic.runtime.certify.rotations import haar_rotations
from equic.runtime.certify.spectrum import spectrum
from equic.runtime.certify.subject import Subject
from equic.runtime.errors import EquicError
from equic.runtime.tables.spherical import harmonic_polynomials, monomials
from equic.runtime.tables.wigner import wigner_D
from equic.runtime.testing.plans import hnn_plan, mace_plan

POINT = np.array([0.3, -0.5, 0.8]) / np.linalg.norm([0.3, -0.5, 0.8])


def content_of(function, degree: int = 6, lmax: int = 3):
    rule = rotation_rule(degree)
    moved = rule.rotations @ POINT
    return character_content(rule, function(moved.T), function(-moved.T), lmax)


def test_the_rule_averages_every_entry_of_D_exactly() -> None:
    rule = rotation_rule(7)
    assert rule.weights.min() > 0
    np.testing.assert_allclose(rule.weights.sum(), 1.0, rtol=1e-14)
    np.testing.assert_allclose(np.linalg.det(rule.rotations), 1.0)
    for l in range(1, 8):
        mean = np.tensordot(rule.weights, wigner_D(l, rule.rotations), axes=1)
        np.testing.assert_allclose(mean, 0.0, atol=1e-13)
    D = wigner_D(3, rule.rotations).reshape(-1, 49)
    overlap = D.T @ (rule.weights[:, None] * D)  # Schur: 1 / (2l + 1)
    np.testing.assert_allclose(overlap, np.eye(49) / 7.0, atol=1e-13)


# The values of a reference implementation, and by hand: averages of monomials over the sphere.
GOLDEN = {
    "xy": (lambda r: r[0] * r[1], {"2e": 1 / 15}, 1 / 15),
    "z": (lambda r: r[2], {"1o": 1 / 3}, 1 / 3),
    "(x, y, z)": (lambda r: r.T, {"1o": 1.0}, 1.0),
    "z^3": (lambda r: r[2] ** 3, {"1o": 3 / 25, "3o": 4 / 175}, 1 / 7),
    "1 + z": (lambda r: 1.0 + r[2], {"0e": 1.0, "1o": 1 / 3}, 4 / 3),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_functions_of_a_direction(name: str) -> None:
    function, expected, size = GOLDEN[name]
    content, norm = content_of(function)
    assert norm == pytest.approx(size, rel=1e-12)
    for (l, p), value in content.items():
        key = f"{l}{'e' if p > 0 else 'o'}"
        assert value == pytest.approx(expected.get(key, 0.0), abs=1e-13)
    assert sum(share_of(content, norm).values()) == pytest.approx(1.0, abs=1e-12)


def test_a_mixture_of_harmonics_has_the_squares_of_its_coefficients() -> None:
    """Y_l has mean square 1 over the sphere; l = 4 lies above what is looked at."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=5)

    def mixture(r):
        total = 0.0
        for l, weight in enumerate(weights):
            powers = np.array([np.prod(r[list(m)], axis=0) for m in monomials(3, l)])
            total = total + weight * (harmonic_polynomials(l).T @ powers)[l]
        return total

    content, norm = content_of(mixture, degree=8, lmax=3)
    for l in range(4):
        assert content[l, (-1) ** l] == pytest.approx(weights[l] ** 2, rel=1e-10)
        assert content[l, -((-1) ** l)] == pytest.approx(0.0, abs=1e-12)
    assert share_of(content, norm)["above"] == pytest.approx(weights[4] ** 2 / (weights**2).sum(), rel=1e-10)


def test_the_unreachable_parities_are_told_apart() -> None:
    """A triple product is 0o, a cross product 1e."""
    rule = rotation_rule(6)
    a, b, c = np.random.default_rng(1).normal(size=(3, 3))
    for function, irrep in (
        (lambda a, b, c: np.cross(a, b) @ c, (0, -1)),
        (lambda a, b, c: np.cross(a, b), (1, 1)),
    ):
        values = [
            np.array([function(s * R @ a, s * R @ b, s * R @ c) for R in rule.rotations]) for s in (1, -1)
        ]
        content, norm = character_content(rule, *values, 2)
        assert content[irrep] == pytest.approx(norm, rel=1e-12)


def test_a_variance_beside_a_large_mean() -> None:
    values = 1e8 + np.array([0.0, 1e-6, 2e-6, 3e-6])[:, None]
    mean, spread = variance(np.full(4, 0.25), values)
    assert spread[0] == pytest.approx(np.var(values - 1e8), rel=1e-2)
    assert mean[0] == pytest.approx(1e8)


PLAN = mace_plan(channels=2, lmax=2, correlation=2, layers=1, widths=(8,))


@lru_cache
def built(mode="hard") -> Model:
    plan = mace_plan(channels=2, lmax=2, correlation=2, layers=1, widths=(8,), mode=mode)
    model = build_module(plan, seed=1, dtype=torch.float64)
    model.set_statistics({"average_neighbors": 6.0, "atomic_energies": [-13.6, -1030.0, -2040.0]})
    return model


def test_a_hard_model_is_what_it_claims_at_outputs_and_inside() -> None:
    found = spectrum(built(), at=["A1", "Y"], lmax=2)
    blocks = [(one.at, one.irrep) for one in found.contents]
    assert blocks[:4] == [("energy", "0e"), ("forces", "1o"), ("stress", "0e"), ("stress", "2e")]
    assert blocks[4:] == [("A1", "0e"), ("A1", "1o"), ("A1", "2e"), ("Y", "0e"), ("Y", "1o"), ("Y", "2e")]
    for one in found.contents:
        assert one.shares[one.irrep] == pytest.approx(1.0, abs=1e-12)
        assert one.strays < 1e-12
        assert max(one.errors.values()) < 1e-10
        assert one.size > 0.0


def test_a_relaxed_model_shows_where_it_strays() -> None:
    """A by quadrature is what the certificate estimates from random rotations."""
    model = built(("relaxed", 0.5))
    frames = random_frames(model.plan, np.random.default_rng(0), periodic=False)[:1]
    found = {(one.at, one.irrep): one for one in spectrum(model, frames=frames, at=["A1"], lmax=3).contents}
    forces = found["forces", "1o"]
    baseline = measure_baseline(Subject(model, "float64"), frames)
    sampled = equivariance_errors(baseline, haar_rotations(600, np.random.default_rng(1)))["forces"]
    assert forces.errors["SO(3)"] * forces.size / baseline.scales["forces"] == pytest.approx(sampled, rel=0.1)
    assert forces.strays > 1e-4
    assert found["A1", "1o"].strays > 1e-4
    assert sum(forces.shares.values()) == pytest.approx(1.0)


class WithATorque:
    """A hard model whose forces get a constant times a cross product of their own: a known share of 1e."""

    def __init__(self, amount: float) -> None:
        self.inner, self.amount = built(), amount
        self.plan, self.dtype = self.inner.plan, torch.float64

    def __call__(self, inputs):
        out = self.inner(inputs)
        count = torch.bincount(inputs["system"]).double()
        mean = torch.zeros(len(count), 3, dtype=torch.float64).index_add(
            0, inputs["system"], inputs["positions"]
        )
        arm = inputs["positions"] - (mean / count[:, None])[inputs["system"]]
        self.torque = torch.linalg.cross(arm, out["forces"])
        return {**out, "forces": out["forces"] + self.amount * self.torque}


def test_a_planted_axial_force_has_its_share() -> None:
    frames = random_frames(PLAN, np.random.default_rng(2), periodic=False)[:1]
    model = WithATorque(0.3)
    found = next(one for one in spectrum(model, frames=frames, lmax=2).contents if one.at == "forces")
    subject = Subject(model, "float64")
    forces = subject.respond(frames).values["forces"]
    axial = 0.3 * model.torque.numpy()
    share = (axial**2).sum() / ((axial**2).sum() + ((forces - axial) ** 2).sum())
    assert found.shares["1e"] == pytest.approx(share, rel=1e-9)
    assert found.shares["1o"] == pytest.approx(1.0 - share, rel=1e-9)
    assert found.errors["SO(3)"] < 1e-12, "it turns as a vector does"
    assert found.errors["inversion"] == pytest.approx(np.sqrt(share), rel=1e-9)


def test_what_has_no_spectrum() -> None:
    with pytest.raises(EquicError, match="turns under SO"):
        spectrum(build_module(hnn_plan(), seed=0))
    with pytest.raises(EquicError, match="look inside the artifact"):
        spectrum(WithATorque(0.0), at=["A1"])
    with pytest.raises(EquicError, match="no step `nowhere`"):
        spectrum(built(), at=["nowhere"])
    with pytest.raises(EquicError, match="no representation of O"):
        spectrum(built(), at=["species"])


def test_the_command_prints_it_and_draws_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from equic.cli import app

    monkeypatch.setattr(atoms_dynamics, "STEPS", 150)  # this is not about dynamics
    plan = mace_plan(channels=1, lmax=1, correlation=1, layers=1, widths=(4,), stress=False)
    file = save_artifact(tmp_path / "m.equic", build_module(plan, seed=1), spec_text="equic: 1\n")
    picture = tmp_path / "p.svg"
    options = ["--lmax", "1", "--at", "A1", "--picture", str(picture), "--json"]
    done = CliRunner().invoke(app, ["verify", str(file), *options])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["spectrum"]
    assert [one["at"] for one in found["contents"]] == ["energy", "forces", "A1", "A1"]
    root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
    cells = [node for node in root.iter() if node.tag.endswith("rect") and node.get("stroke") == "#c2410c"]
    assert len(cells) == 4, "one frame a block, where it claims to be"
