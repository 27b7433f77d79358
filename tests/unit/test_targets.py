"""Targets of any representation: read, learned, measured, written, against rotations of the tensors themselves."""

import io

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.artifact import load_artifact
from equic.runtime.build import build_module
from equic.runtime.calculators import EquicCalculator
from equic.runtime.certify import certify
from equic.runtime.certify.atoms_derivatives import derivative_items
from equic.runtime.certify.baseline import measure_baseline
from equic.runtime.certify.frames import random_frames
from equic.runtime.certify.subject import Subject
from equic.runtime.data import compute_statistics, load_sets
from equic.runtime.data.statistics import label_variance
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan
from equic.runtime.predict import annotate, predict
from equic.runtime.training import train

SPEC = """\
equic: 1
name: responses
system: {{kind: atoms, species: [H, O], cutoff: 4.0 Å}}
symmetry: {{O(3): {mode}}}
targets:
  dipole: {{per: system, rep: 1o, unit: e Å}}
  alpha: {{per: system, rep: 0e+2e, unit: Å^3}}
  quadrupole: {{per: node, rep: 2e}}
  gap: {{per: system, rep: 0e, unit: eV, pool: mean}}
  charges: {{per: node, rep: 0e, unit: e}}
  components: {{per: node, rep: 2x1o+1x0o, form: irreps}}
model:
  features: {{node: 6x0e, harmonics: 2}}
  blocks:
    - {{kind: mp, carry: 6x0e+6x1o+6x2e, message: {{irreps: 6x(0..2), radial: [8]}}}}
    - {{kind: mp, carry: 6x0e+6x1o+6x2e+6x1e, message: {{irreps: 6x(0..2)+6x1e, radial: [8]}}, power: {{order: 2}}}}
    - kind: mp
      carry: 6x0e+6x1o+6x2e+6x0o
      message: {{irreps: 6x(0..2)+6x1e+6x0o, radial: [8]}}
"""


def plan_of(text: str) -> Plan:
    report = Report()
    done = compile_spec(source_from_text(text, report=report), report, debug=True)
    report.raise_if_errors()
    assert done.plan is not None
    return Plan.from_json(done.plan)


def molecules(count: int, seed: int = 0) -> list[Atoms]:
    """Small clusters with tensors that follow from point charges: a closed formula, not a model."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        n = int(rng.integers(4, 7))
        positions = np.cumsum(rng.normal(size=(n, 3)) * 0.4 + 0.6, axis=0)
        symbols = ["O" if k % 3 == 0 else "H" for k in range(n)]
        atoms = Atoms(symbols, positions)
        charges = np.where(atoms.numbers == 8, -0.8, 0.4)
        r = positions - positions.mean(axis=0)
        pairs = positions[:, None] - positions[None]
        d = np.linalg.norm(pairs, axis=-1) + np.eye(n)
        alpha = np.eye(3) * n + np.einsum("ija,ijb,ij->ab", pairs, pairs, np.exp(-d))
        moments = np.einsum("ija,ijb,ij->iab", pairs, pairs, np.exp(-d))
        atoms.info |= {"dipole": charges @ r, "alpha": alpha.ravel(), "gap": 5.0 + np.exp(-d).mean()}
        traces = np.trace(moments, axis1=1, axis2=2)[:, None, None] / 3
        atoms.arrays["quadrupole"] = (moments - traces * np.eye(3)).reshape(n, 9)
        atoms.arrays["charges"] = charges
        frames.append(atoms)
    return frames


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "water.xyz"
    ase.io.write(path, molecules(24), format="extxyz")
    return path


LABELLED = ("dipole", "alpha", "quadrupole", "gap", "charges")


def with_data(text: str, path, targets=LABELLED) -> str:
    labels = ", ".join(f"{name}: {{key: {name}}}" for name in targets)
    return text + f"data: {{train: {{path: {path}, labels: {{{labels}}}}}, validation: 6}}\n"


@pytest.fixture(scope="module")
def model():
    built = build_module(plan_of(SPEC.format(mode="hard")), seed=2, dtype=torch.float64)
    built.set_statistics({"average_neighbors": 1.0, "alpha_shift": [3.0], "gap_shift": [5.0]})
    return built


def test_outputs_have_the_shapes_of_their_tensors(model):
    frames = molecules(3)
    n = [len(frame) for frame in frames]
    found = predict(model, frames, device="cpu")
    shapes = {name: [one[name].shape for one in found] for name in found[0]}
    assert shapes == {
        "dipole": [(3,)] * 3,
        "alpha": [(3, 3)] * 3,
        "quadrupole": [(k, 3, 3) for k in n],
        "gap": [()] * 3,
        "charges": [(k,) for k in n],
        "components": [(k, 7) for k in n],
    }


def rotation(seed: int = 0) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_tensors_turn_with_the_molecule(model, sign):
    """Rotations of the Cartesian tensors: nothing of our representation matrices is used."""
    R = sign * rotation(1)
    frames = molecules(3)
    turned = [Atoms(one.numbers, one.positions @ R.T) for one in frames]
    for a, b in zip(predict(model, frames, device="cpu"), predict(model, turned, device="cpu"), strict=True):
        np.testing.assert_allclose(b["dipole"], R @ a["dipole"], atol=1e-11)
        np.testing.assert_allclose(b["alpha"], R @ a["alpha"] @ R.T, atol=1e-11)
        np.testing.assert_allclose(b["quadrupole"], R @ a["quadrupole"] @ R.T, atol=1e-11)
        np.testing.assert_allclose(b["gap"], a["gap"], atol=1e-11)
        vectors = a["components"][:, :6].reshape(-1, 3, 2)  # component first, copies last
        expected = np.einsum("ab,nbu->nau", R, vectors).reshape(-1, 6)
        np.testing.assert_allclose(b["components"][:, :6], expected, atol=1e-11)
        np.testing.assert_allclose(b["components"][:, 6], sign * a["components"][:, 6], atol=1e-11)
        assert np.abs(a["components"][:, 6]).max() > 1e-6
        assert np.abs(np.trace(a["quadrupole"], axis1=1, axis2=2)).max() < 1e-12


def test_the_certificate_measures_every_output(model):
    certificate = certify(model, dtypes=("float64",), seed=1)
    assert certificate.ok, certificate.failures
    for target in model.plan.outputs:
        for factor in ("SO(3)", "inversion"):
            assert certificate.item(f"{factor} equivariance, {target}", "float64").status == "holds"
    words = certificate.item("size extensivity", "float64").measure
    assert "alpha" in words
    assert "charges" in words
    assert "gap" not in words  # a mean is intensive
    assert certificate.item("NVE energy drift", "float64").status == "not applicable"


class Faulty:
    """A model with one output spoiled."""

    def __init__(self, model, name, fault):
        self.plan, self.dtype, self.model, self.name, self.fault = model.plan, model.dtype, model, name, fault

    def __call__(self, inputs):
        outputs = self.model(inputs)
        return {**outputs, self.name: self.fault(outputs[self.name])}


@pytest.mark.parametrize(
    ("name", "fault", "fails"),
    [
        ("dipole", lambda y: y * torch.tensor([1.0, 1.0, 1.000001]), "SO(3) equivariance, dipole"),
        ("alpha", lambda y: y.roll(1, dims=1), "SO(3) equivariance, alpha"),
        ("dipole", lambda y: y + y.abs().sum(-1, keepdim=True), "inversion equivariance, dipole"),
        ("components", lambda y: y[:, [1, 0, 2, 3, 4, 5, 6]], "SO(3) equivariance, components"),
        ("charges", lambda y: y + torch.arange(len(y)) * 1e-6, "permutation"),
        ("alpha", lambda y: y**3, "size extensivity"),
    ],
)
def test_a_spoiled_output_is_caught(model, name, fault, fails):
    certificate = certify(Faulty(model, name, fault), seed=1)
    assert fails in {item.name for item in certificate.failures}
    spoiled = {item.name for item in certificate.failures if "equivariance, " in item.name}
    assert all(name in item or "worst" in item for item in spoiled)


def test_statistics_bring_targets_to_their_size(data):
    plan = plan_of(with_data(SPEC.format(mode="hard"), data))
    frames = load_sets(plan)["train"]
    found = compute_statistics(plan, frames)
    charges = np.concatenate([frame.labels["charges"] for frame in frames])
    assert found["charges_shift"] == pytest.approx([charges.mean()])
    assert found["charges_scale"] == pytest.approx([charges.std()])
    gaps = np.array([float(frame.labels["gap"]) for frame in frames])
    assert found["gap_shift"] == pytest.approx([gaps.mean()])
    sizes = np.array([len(frame) for frame in frames])
    traces = np.array([np.trace(frame.labels["alpha"]) for frame in frames]) / np.sqrt(3.0)
    assert found["alpha_shift"] == pytest.approx([traces.sum() / sizes.sum()])
    rest = (traces - sizes * found["alpha_shift"][0]) / np.sqrt(sizes)
    assert found["alpha_scale"][0] == pytest.approx(np.sqrt(np.mean(rest**2)))
    dipoles = np.stack([frame.labels["dipole"] for frame in frames]) / np.sqrt(sizes)[:, None]
    assert found["dipole_scale"] == pytest.approx([np.sqrt(np.mean(dipoles**2))])
    assert "dipole_shift" not in plan.statistics
    assert found["components_scale"] == [1.0, 1.0]  # no labels
    assert label_variance(list(frames), "charges") == pytest.approx(charges.var())


def test_a_model_without_an_energy_makes_the_whole_journey(data, tmp_path):
    plan = plan_of(
        with_data(SPEC.format(mode="hard"), data)
        + "train: {epochs: 20, batch: 6, learning_rate: 0.02, precision: float64}\n"
    )
    assert plan.energy is None
    assert plan.train["loss"]["dipole"] == {"weight": None, "per_atom": False}
    assert "components" not in plan.train["loss"]
    result = train(plan, directory=tmp_path / "run", device="cpu", progress=False)
    first, last = result.history[0]["loss"], result.history[-1]["loss"]
    assert last < 0.5 * first
    spread = np.sqrt(label_variance(list(load_sets(plan)["train"]), "dipole"))
    assert result.metrics["train"]["dipole"]["rmse"] < 0.7 * spread
    loaded = load_artifact(result.artifact, device="cpu").model
    frames = molecules(2, seed=5)
    for atoms, one in zip(frames, predict(loaded, frames, device="cpu"), strict=True):
        file = io.StringIO()
        ase.io.write(file, annotate(atoms, one, plan), format="extxyz")
        file.seek(0)
        again = ase.io.read(file, format="extxyz")
        results = {**again.info, **again.arrays, **(again.calc.results if again.calc else {})}
        np.testing.assert_allclose(results["dipole"], one["dipole"], atol=1e-7)
        np.testing.assert_allclose(np.reshape(results["alpha"], (3, 3)), one["alpha"], atol=1e-7)
        np.testing.assert_allclose(results["quadrupole"].reshape(-1, 3, 3), one["quadrupole"], atol=1e-7)
        atoms.calc = EquicCalculator(loaded, device="cpu")
        np.testing.assert_allclose(atoms.get_dipole_moment(), one["dipole"], atol=1e-10)
        assert "energy" not in atoms.calc.implemented_properties


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda atoms: atoms.info.update(alpha=np.arange(9.0)), "not symmetric"),
        (lambda atoms: atoms.info.update(alpha=np.arange(5.0)), "expected [3, 3] or [9] or [6]"),
        (lambda atoms: atoms.info.update(dipole=np.arange(4.0)), "expected [3]"),
        (
            lambda atoms: atoms.arrays.update(quadrupole=np.tile(np.eye(3).ravel(), (len(atoms), 1))),
            "has a trace",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused_by_frame(tmp_path, spoil, message):
    frames = molecules(3)
    spoil(frames[1])
    path = tmp_path / "bad.xyz"
    ase.io.write(path, frames, format="extxyz")
    with pytest.raises(DataError) as error:
        load_sets(plan_of(with_data(SPEC.format(mode="hard"), path)))
    assert "bad.xyz:frame 1" in str(error.value)
    assert message in str(error.value)


def test_six_numbers_are_a_symmetric_matrix(tmp_path):
    frames = molecules(8)
    expected = [frame.info["alpha"].reshape(3, 3).copy() for frame in frames]
    for frame, matrix in zip(frames, expected, strict=True):
        frame.info["alpha"] = matrix[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    path = tmp_path / "voigt.xyz"
    ase.io.write(path, frames, format="extxyz")
    sets = load_sets(plan_of(with_data(SPEC.format(mode="hard"), path, ("alpha",))))
    found = {one.source: one.labels["alpha"] for part in sets.values() for one in part}
    for k, matrix in enumerate(expected):
        np.testing.assert_allclose(found[f"voigt.xyz:frame {k}"], matrix, atol=1e-6)


@pytest.mark.parametrize("mode", ["free", "{relaxed: 0.5}"])
def test_a_free_model_breaks_and_says_so(mode):
    plan = plan_of(SPEC.format(mode=mode))
    model = build_module(plan, seed=1, dtype=torch.float64)
    certificate = certify(model, seed=1)
    assert certificate.ok
    assert certificate.item("SO(3) equivariance, dipole", "float64").status == "reported"
    assert certificate.item("SO(3) equivariance, dipole", "float64").value > 1e-3


def test_a_free_model_reaches_a_vector_from_scalars():
    text = (
        "equic: 1\nname: a\nsystem: {kind: atoms, species: [H], cutoff: 4.0 Å}\nsymmetry: {O(3): free}\n"
        "targets: {dipole: {per: system, rep: 1o}}\n"
        "model: {architecture: mace, channels: 4, hidden_lmax: 0}\n"
    )
    assert plan_of(text).outputs["dipole"].rep == "1x1o"


def test_two_energies_have_one_zero_of_free_atoms():
    plan = plan_of(
        "equic: 1\nname: a\nsystem: {kind: atoms, species: [H], cutoff: 4.0 Å}\nsymmetry: {O(3): hard}\n"
        "targets:\n  free_energy: {per: system, rep: 0e, unit: eV}\n  U: {per: system, rep: 0e, unit: eV}\n"
        "  F: {gradient_of: U, wrt: positions, scale: -1}\n"
        "model: {architecture: mace, channels: 4, lmax: 1, layers: 1}\n"
    )
    assert plan.energy == "U"
    assert plan.forces == "F"
    assert "node_U" in plan.outputs
    assert plan.step("node_free_energy").layer == "rescale"
    assert plan.per_atom == {"U"}
    subject = Subject(build_module(plan, dtype=torch.float64), "float64")
    rng = np.random.default_rng(0)
    baseline = measure_baseline(subject, random_frames(plan, rng, periodic=False))
    assert [item.status for item in derivative_items(baseline, rng)] == ["holds", "holds"]
