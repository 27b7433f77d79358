"""Standalone folders: readable source and weights that give the model's numbers where equic is not installed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from equic.runtime.artifact import save_artifact
from equic.runtime.build import Model, build_module
from equic.runtime.certify import probes, verify_file
from equic.runtime.compare import compare
from equic.runtime.errors import ExportError
from equic.runtime.export import Standalone, export_standalone, load_standalone, standalone, standalone_run
from equic.runtime.export.samples import check_batches, sample_inputs
from equic.runtime.export.trace import recast
from equic.runtime.neighbors import neighbor_list
from equic.runtime.testing.plans import hnn_plan, mace_plan
from hypothesis import given, settings
from hypothesis import strategies as st

import equic

PLAN = mace_plan(channels=2, lmax=2, correlation=2, layers=1, widths=(8,), cutoff=3.5)


@pytest.fixture(scope="module")
def model() -> Model:
    made = build_module(PLAN, seed=3, dtype=torch.float32)
    made.set_statistics(
        {"atomic_energies": [-13.6, -1029.2, -2042.0], "scale": 1.7, "average_neighbors": 12.5}
    )
    return made


@pytest.fixture(scope="module")
def exported(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Standalone:
    path = tmp_path_factory.mktemp("export") / "small.standalone"
    return load_standalone(
        export_standalone(model, path, certificate={"note": "Å"}, probes=probes(model, seed=1))
    )


def test_the_numbers_are_the_models(model: Model, exported: Standalone) -> None:
    reference = recast(model, torch.float64)
    for inputs in check_batches(PLAN):
        found, expected = exported(inputs), reference(inputs)
        assert list(found) == list(expected)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12)


def test_float32_and_phase_space(model: Model, tmp_path: Path) -> None:
    rounded = load_standalone(export_standalone(model, tmp_path / "a.standalone", dtype="float32"))
    inputs = sample_inputs(PLAN, [5], seed=1)
    for name, value in model(inputs).items():
        torch.testing.assert_close(rounded(inputs)[name], value, rtol=1e-5, atol=1e-5)
    flow = build_module(hnn_plan(dim=4), seed=1)
    folder = export_standalone(flow, tmp_path / "flow.standalone", probes=probes(flow))
    states = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = recast(flow, torch.float64)({"state": states})
    for name, value in load_standalone(folder)({"state": states}).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)
    assert set(run_alone(folder)) == {"derivatives", "hamiltonian"}


ALONE = """
import json, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numpy", "equic", "scipy", "ase", "vesin", "e3nn"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
import warnings; warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
import run
print(json.dumps(run.agreement()))
"""


def run_alone(folder: Path) -> dict[str, float]:
    """What run.py says of its own agreement, in a process that has torch and safetensors alone."""
    done = subprocess.run([sys.executable, "-P", "-c", ALONE, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_runs_where_there_is_torch_alone_with_its_own_neighbours(exported: Standalone) -> None:
    worst = run_alone(exported.path)
    assert set(worst) == {"energy", "forces", "stress"}
    assert max(worst.values()) < 1e-12
    script = subprocess.run([sys.executable, "run.py"], cwd=exported.path, capture_output=True, text=True)
    assert script.returncode == 0, script.stderr
    assert "forces: differs by" in script.stdout


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_the_plain_neighbour_list_is_the_fast_one(seed: int, pbc: tuple[bool, bool, bool]) -> None:
    """Skewed cells wider and narrower than the cutoff, atoms far outside of them."""
    rng = np.random.default_rng(seed)
    cell = rng.uniform(2.0, 6.0) * (np.eye(3) + 0.25 * rng.normal(size=(3, 3)))
    positions = rng.uniform(-1.5, 2.5, size=(rng.integers(1, 7), 3)) @ cell
    edges, shifts = neighbor_list(positions, cell, pbc, 3.0)
    found, images = standalone_run.neighbors(
        torch.from_numpy(positions), torch.from_numpy(cell), list(pbc), 3.0
    )
    rows = lambda e, s: sorted(zip(*np.asarray(e).tolist(), *np.asarray(s).T.tolist(), strict=True))  # noqa: E731
    assert rows(found, images) == rows(edges, shifts)


def test_it_is_certified_and_compared_like_any_file(
    model: Model, exported: Standalone, tmp_path: Path
) -> None:
    from ase.build import bulk, molecule

    certificate = verify_file(exported.path, group_elements=2)
    assert certificate.ok
    assert certificate.item("parity with the reference", "float64").status == "holds"
    artifact = save_artifact(tmp_path / "small.equic", model, spec_text="equic: 1\n")
    frames = [molecule("CH3OH"), bulk("C", cubic=True, a=3.2)]
    models = {
        "a": equic.load(artifact, dtype="float64", device="cpu").model,
        "b": equic.load(exported.path).model,
    }
    assert compare(models, frames).ok
    atoms = frames[0]
    atoms.calc = equic.load(exported.path).calculator()
    assert atoms.get_forces().shape == (6, 3)


def test_a_folder_that_was_changed_is_refused(exported: Standalone, tmp_path: Path) -> None:
    import shutil

    for name in standalone.FILES:
        folder = tmp_path / name
        shutil.copytree(exported.path, folder)
        data = bytearray((folder / name).read_bytes())
        data[-2] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises(ExportError, match=f"{name} is not what was exported"):
            load_standalone(folder)
        (folder / name).unlink()
        with pytest.raises(ExportError, match=f"lacks {name}"):
            load_standalone(folder)
    with pytest.raises(ExportError, match="not a standalone export"):
        load_standalone(tmp_path)


def test_wrong_inputs_are_refused(exported: Standalone) -> None:
    inputs = sample_inputs(PLAN, [4], seed=2)
    with pytest.raises(ExportError, match="there are 3 species"):
        exported({**inputs, "species": inputs["species"] + 3})
    with pytest.raises(ExportError, match="needs the input `shifts`"):
        exported({name: value for name, value in inputs.items() if name != "shifts"})


def test_a_folder_with_other_numbers_never_takes_its_name(
    model: Model, exported: Standalone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.standalone"
    monkeypatch.setattr(
        standalone, "recast", lambda *_, **__: recast(build_module(PLAN, seed=9), torch.float64)
    )
    with pytest.raises(ExportError, match="differs from the model's by"):
        export_standalone(model, target)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    target.mkdir()
    (target / "mine.txt").write_text("not to be lost")
    with pytest.raises(ExportError, match="is no standalone export"):
        export_standalone(model, target)
    assert (target / "mine.txt").exists()
    again = exported.path
    assert export_standalone(model, again) == again, "an older export is replaced"


def test_the_command_writes_what_the_spec_names(model: Model, tmp_path: Path) -> None:
    from dataclasses import replace

    plan = replace(hnn_plan(dim=2, hidden=(4,)), export={"targets": ["standalone"], "dtype": "float64"})
    save_artifact(tmp_path / "m.equic", build_module(plan, seed=1), spec_text="equic: 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "equic", "export", "m.equic"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert {file.name for file in (tmp_path / "m.standalone").iterdir()} == {
        *standalone.FILES,
        "metadata.json",
    }
    with pytest.raises(ExportError, match="no target `onnx`"):
        equic.export(tmp_path / "m.equic", target="onnx")
