"""A model of another program, from its dump to an artifact that verifies, predicts and moves atoms.

The dumps are those of tests/oracles, made by mace-torch. Where EQUIC_MACE_PYTHON names a Python with mace-torch, a
fresh model is read by it too.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import chemical_symbols
from equic.runtime.artifact import load_artifact, save_artifact
from equic.runtime.errors import EquicError
from typer.testing import CliRunner

from equic import api
from equic.cli import app
from equic.importing import import_model

ROOT = Path(__file__).parents[2]
NAME = "vector features"


@pytest.fixture(scope="module")
def arrays(mace_dump):
    return mace_dump(NAME)


@pytest.fixture(scope="module")
def dump(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("import") / "peer model.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def artifact(dump):
    out, spec = dump.with_name("peer.equic"), dump.with_name("peer.yaml")
    run = CliRunner().invoke(app, ["import", "mace", str(dump), "-o", str(out), "--spec", str(spec)])
    assert run.exit_code == 0, run.output
    assert "reproduces mace-torch to" in run.output
    return out


def test_the_artifact_says_and_measures_that_it_reproduces_the_original(artifact, arrays):
    certificate = api.verify(artifact)
    item = certificate.item("reproduces mace-torch", "float64")
    assert certificate.ok, certificate.failures
    assert item.value < 1e-12
    assert "energy, forces from the answers of mace-torch over 6 frames" in item.measure
    answers = load_artifact(artifact).probes["outputs"]
    np.testing.assert_array_equal(answers["forces"], arrays["answers/forces"])


def test_it_predicts_and_moves_atoms_as_the_original_would(artifact, arrays):
    loaded = api.load(artifact, device="cpu")
    start = 0
    for i in range(2):
        atoms = Atoms(
            [chemical_symbols[z] for z in arrays[f"structures/{i}/numbers"]],
            positions=arrays[f"structures/{i}/positions"],
            cell=arrays[f"structures/{i}/cell"],
            pbc=arrays[f"structures/{i}/pbc"],
        )
        atoms.calc = loaded.calculator()
        expected = arrays["answers/forces"][start : start + len(atoms)]
        np.testing.assert_allclose(atoms.get_forces(), expected, atol=1e-11 * np.abs(expected).max())
        assert atoms.get_potential_energy() == pytest.approx(float(arrays["answers/energy"][i]), abs=1e-10)
        start += len(atoms)


def test_the_spec_beside_it_compiles_to_the_same_graph(artifact):
    done = api.check(artifact.with_name("peer.yaml"))
    assert done.ok, done.report
    assert done.plan["graph_hash"] == load_artifact(artifact).plan.graph_hash
    assert done.spec.name == "peer-model"


def test_a_stale_weight_is_found_out(artifact, tmp_path):
    found = load_artifact(artifact)
    weight = found.model.get_parameter(_some_weight(found.model))
    weight.data[0] *= 1.001
    path = save_artifact(
        tmp_path / "stale.equic", found.model, spec_text=found.spec_text, probes=found.probes
    )
    certificate = api.verify(path)
    assert certificate.item("reproduces mace-torch", "float64").status == "fails"
    assert not certificate.ok


def _some_weight(model):
    return next(name for name, _ in model.named_parameters() if "power" in name)


def test_a_model_that_answers_otherwise_is_not_written(arrays, tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, **{**arrays, "answers/forces": arrays["answers/forces"] * (1 + 1e-6)})
    with pytest.raises(EquicError, match="does not answer as the original"):
        import_model("mace", path, tmp_path / "other.equic")
    assert not (tmp_path / "other.equic").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a.pop("answers/energy"), "hold no answers for energy"),
        (lambda a: a.update({"structures/0/numbers": np.array([92] * 9)}), "has U, unknown to the model"),
        (lambda a: a.update({"dtype": np.array("float16")}), "kept in float16"),
    ],
)
def test_dumps_that_do_not_fit_are_refused(arrays, tmp_path, change, says):
    changed = dict(arrays)
    change(changed)
    path = tmp_path / "bad.npz"
    np.savez(path, **changed)
    with pytest.raises(EquicError, match=says):
        import_model("mace", path, tmp_path / "bad.equic")


def test_a_dump_answers_for_one_head_alone(dump):
    with pytest.raises(EquicError, match="answers of the head `Default`, not of `other`"):
        import_model("mace", dump, dump.with_name("other.equic"), head="other")


def test_a_precision_that_weights_cannot_have_is_refused(dump, tmp_path):
    with pytest.raises(EquicError, match="cannot be stored as `int8`"):
        import_model("mace", dump, tmp_path / "a.equic", dtype="int8")


def test_wrong_files_and_pythons_are_explained(tmp_path):
    (tmp_path / "no.npz").write_bytes(b"nothing")
    for source, python, says in (
        (tmp_path / "no.npz", None, "is no file of arrays"),
        (tmp_path / "a.model", None, "only by the program that wrote it"),
        (tmp_path / "a.model", "/nowhere/python", "does not run"),
        (tmp_path / "a.model", sys.executable, "could not read"),
    ):
        with pytest.raises(EquicError, match=says):
            import_model("mace", source, tmp_path / "a.equic", python=python)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            "first='ResidualNonLinear', later='ResidualNonLinear'",
            "class RealAgnosticResidualNonLinearInteraction",
        ),
        ("first='Residual', later='AttResidual'", "layers of class RealAgnosticAttResidualInteractionBlock"),
        ("radial_type='chebyshev', apply_cutoff=False", "the radial basis ChebychevBasis"),
        ("use_agnostic_product=True", "products that are the same for all elements"),
        ("edge_irreps=peer.o3.Irreps('2x0e+2x1o')", "messages of fewer channels"),
        ("use_so3=True", "harmonics 1x0e+1x1e"),
    ],
    ids=lambda value: value.split("=")[0] if "=" in value else "",
)
def test_what_cannot_be_expressed_is_named_by_the_peers_program_or_by_equic(options, says, tmp_path):
    python = os.environ.get("EQUIC_MACE_PYTHON")
    if not python:
        pytest.skip("EQUIC_MACE_PYTHON names no Python with mace-torch; `make oracles` runs this")
    make = (
        "import sys, torch; sys.path.insert(0, sys.argv[1]); import peer\n"
        "model = peer.build(numbers=(1, 8), channels=4, lmax=2, hidden_lmax=1, correlation=2, layers=2, bessel=6,"
        f" envelope=5, radial=(8,), readout=4, neighbors=2.0, seed=1, cutoff=4.0, {options})\n"
        "torch.save(model, sys.argv[2])"
    )
    script = [python, "-W", "ignore", "-c", make, str(ROOT / "tests/oracles/mace"), str(tmp_path / "a.model")]
    subprocess.run(script, check=True, capture_output=True)
    with pytest.raises(EquicError) as caught:
        import_model("mace", tmp_path / "a.model", tmp_path / "a.equic", python=python)
    assert says in str(caught.value)


def test_a_fresh_model_is_read_by_its_own_program(tmp_path):
    python = os.environ.get("EQUIC_MACE_PYTHON")
    if not python:
        pytest.skip("EQUIC_MACE_PYTHON names no Python with mace-torch; `make oracles` runs this")
    make = (
        "import sys, torch; sys.path.insert(0, sys.argv[1]); import peer\n"
        "model = peer.build(numbers=(1, 8), channels=4, lmax=2, hidden_lmax=1, correlation=2, layers=2, bessel=6,"
        " envelope=5, radial=(8,), readout=4, neighbors=2.0, seed=1, cutoff=4.0, dtype=torch.float32,"
        " first='Density', later='DensityResidual', heads=('a', 'b'), distance_transform='Agnesi')\n"
        "torch.save(model, sys.argv[2])"
    )
    file = tmp_path / "fresh.model"
    script = [python, "-W", "ignore", "-c", make, str(ROOT / "tests/oracles/mace"), str(file)]
    subprocess.run(script, check=True, capture_output=True)
    for head, says in ((None, "several heads: choose one of a, b"), ("c", "no head c; its heads are a, b")):
        with pytest.raises(EquicError, match=says):
            import_model("mace", file, tmp_path / "fresh.equic", python=python, head=head)
    found = import_model("mace", file, tmp_path / "fresh.equic", python=python, dtype="float32", head="b")
    assert found.certificate.item("reproduces mace-torch", "float64").value < 1e-5
    assert found.certificate.item("reproduces mace-torch", "float32").status == "holds"
