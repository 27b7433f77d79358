"""A spec on its whole way, for both kinds of system: compiled, trained, certified, exported, moved in time.

The models are as small as they may be; the numbers that matter are those of the certificates.
"""

import base64
from pathlib import Path

import numpy as np
import pytest
from equic.runtime.certify import certify

import equic
from equic.reporting import report_on

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = "model={architecture: mace, channels: 4, lmax: 2, correlation: 2, layers: 1, radial: [8]}"


def values(certificate, name, dtype="float64"):
    """The measured values of every item whose name starts so."""
    return [item.value for item in certificate.items if item.name.startswith(name) and item.dtype == dtype]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A hard model after two epochs."""
    runs = tmp_path_factory.mktemp("runs")
    overrides = [MODEL, "train.epochs=2", "data.validation=20", "data.test=20"]
    return equic.train(EXAMPLES / "01_ethanol/spec.yaml", overrides, runs=runs, progress=False, device="cpu")


def test_training_lowers_the_error(trained):
    first, last = trained.history[0], trained.history[-1]
    assert last["loss"] < first["loss"]
    assert trained.metrics["test"]["forces"]["rmse"] < 2.0  # eV/Å; the forces' own RMS is about 1.5
    assert trained.artifact.exists()


def test_a_run_has_a_picture_of_its_graph_which_its_report_shows(trained, tmp_path):
    drawn = (trained.artifact.parent / "graph.svg").read_bytes()
    assert b"layer1" in drawn
    page = report_on([trained.artifact.parent], tmp_path / "report.html").read_text(encoding="utf-8")
    assert base64.b64encode(drawn).decode() in page


def test_the_hard_model_keeps_its_symmetry_to_rounding(trained):
    certificate = equic.verify(trained.artifact)
    assert certificate.ok
    for factor in ("SO(3)", "inversion"):
        found = values(certificate, f"{factor} equivariance")
        assert len(found) == (4 if factor == "SO(3)" else 3)  # energy, forces, stress; the worst rotation
        assert max(found) < 1e-10


def test_the_artifact_calculates_like_the_model(trained):
    import ase.io

    loaded = equic.load(trained.artifact, device="cpu")
    atoms = ase.io.read(EXAMPLES / "data/ethanol.xyz", index=0)
    (predicted,) = loaded.predict(atoms)
    atoms.calc = loaded.calculator()
    assert atoms.get_potential_energy() == pytest.approx(float(predicted["energy"]), abs=1e-6)
    np.testing.assert_allclose(atoms.get_forces(), predicted["forces"], atol=1e-5)


def relaxed(symmetry, *more):
    overrides = [MODEL, f"symmetry={symmetry}", "train.precision=float64", *more]
    return equic.compile(EXAMPLES / "01_ethanol/spec.yaml", overrides, seed=3)


@pytest.fixture(scope="module")
def frames():
    import ase.io

    return ase.io.read(EXAMPLES / "data/ethanol.xyz", index=":3")


def errors_of(model, frames):
    certificate = certify(model, frames=frames, dtypes=("float64",))
    assert certificate.ok
    return {factor: max(values(certificate, f"{factor} equivariance")) for factor in ("SO(3)", "inversion")}


def test_a_relaxed_model_reports_how_far_it_strays(frames):
    found = errors_of(relaxed("{O(3): {relaxed: 0.1}}"), frames)
    assert found["SO(3)"] > 1e-3
    assert found["inversion"] > 1e-3


def test_relaxed_by_zero_is_hard(frames):
    zero, hard = relaxed("{O(3): {relaxed: 0}}"), relaxed("{O(3): hard}")
    assert zero.plan.graph_hash == hard.plan.graph_hash
    assert max(errors_of(zero, frames).values()) < 1e-10


def test_factors_are_held_one_by_one(frames):
    # a pseudoscalar needs three vectors: two layers
    model = relaxed("{SO(3): hard, inversion: {relaxed: 0.5}}", "model.layers=2")
    found = errors_of(model, frames)
    assert found["SO(3)"] < 1e-10
    assert found["inversion"] > 1e-6


def test_a_free_model_with_a_pointwise_activation_compiles_and_its_error_is_not_zero(frames, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        """\
equic: 1
name: pointwise
system: {kind: atoms, species: [H, C, O], cutoff: 4.5 Å}
symmetry: {O(3): free}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1}
model:
  features: {node: 4x0e, harmonics: 1}
  blocks:
    - kind: mp
      carry: 4x0e+4x1o
      message: {irreps: 4x(0..1), radial: [8]}
      act: {form: pointwise, f: silu}
train: {precision: float64}
""",
        encoding="utf-8",
    )
    assert errors_of(equic.compile(spec), frames)["SO(3)"] > 1e-3
    refused = equic.check(spec, ["symmetry={O(3): hard}"])
    assert [error.code for error in refused.report.errors] == ["T205"]


PHASE = {
    "pendulum": ("03_pendulum", ["model={architecture: hnn, hidden: [16]}"]),
    "two bodies": ("05_two_body", ["model={architecture: pairwise_energy, hidden: [16]}"]),
    "rk4": (
        "03_pendulum",
        ["model={architecture: hnn, hidden: [16]}", "constraints.hamiltonian={integrator: rk4}"],
    ),
    "free": (
        "03_pendulum",
        ["model={architecture: mlp, hidden: [16]}", "constraints={}", "targets={derivatives: {}}"],
    ),
}


@pytest.mark.parametrize("name", list(PHASE))
def test_phase_spaces_train_and_keep_what_they_claim(name, tmp_path):
    folder, overrides = PHASE[name]
    spec = EXAMPLES / folder / "spec.yaml"
    run = equic.train(spec, [*overrides, "train.epochs=2"], runs=tmp_path, progress=False, device="cpu")
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    certificate = certify(run.model, dtypes=("float64",))
    assert certificate.ok, [item for item in certificate.items if item.status == "fails"]
    field = next(item for item in certificate.items if item.name == "field against H")
    if name == "free":
        assert field.status == "not applicable"
    else:
        assert field.value < 1e-6
    conserved = [item for item in certificate.items if item.name.startswith("conserved")]
    assert len(conserved) >= {"pendulum": 1, "two bodies": 3, "rk4": 1, "free": 0}[name]


def test_a_crystal_trains_on_stress_and_keeps_its_claims(tmp_path):
    overrides = ["model.channels=4", "model.radial=[8]", "model.correlation=2", "train.epochs=3"]
    spec = EXAMPLES / "04_copper/spec.yaml"
    run = equic.train(spec, overrides, runs=tmp_path, progress=False, device="cpu")
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    assert set(run.metrics["validation"]) == {"energy", "forces", "stress"}
    certificate = equic.verify(run.artifact)
    assert certificate.ok, certificate.failures
    assert max(values(certificate, "stress against strain")) < 1e-6
    assert max(values(certificate, "lattice vectors")) < 1e-10
