"""The same frames through several models: the worst disagreement is found, and where it is."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from equic.runtime.artifact import save_artifact
from equic.runtime.build import Model, build_module
from equic.runtime.compare import compare
from equic.runtime.errors import DataError
from equic.runtime.export.trace import recast
from equic.runtime.testing.plans import hnn_plan, mace_plan

PLAN = mace_plan(channels=2, lmax=1, correlation=2, layers=1, widths=(8,))


def model(seed: int = 1, dtype: torch.dtype = torch.float64) -> Model:
    made = build_module(PLAN, seed=seed, dtype=dtype)
    made.set_statistics({"atomic_energies": [-13.6, -1029.0, -2042.0], "average_neighbors": 8.0})
    return made


class Faulty:
    """A model whose answer on one structure is off by a known amount, with the face of an exported one."""

    def __init__(self, inner: Model, output: str, fault: float, atoms: int) -> None:
        self.plan, self.dtype, self.device = inner.plan, inner.dtype, torch.device("cpu")
        self.inner, self.output, self.fault, self.atoms = inner, output, fault, atoms

    def __call__(self, inputs):
        out = self.inner(inputs)
        sizes = torch.bincount(inputs["system"])
        hit = sizes == self.atoms if self.output == "energy" else (sizes == self.atoms)[inputs["system"]]
        change = torch.zeros_like(out[self.output])
        change[hit] = self.fault
        return {**out, self.output: out[self.output] + change}


FRAMES = [molecule("CH4"), molecule("CH3OH"), molecule("H2O"), bulk("C", cubic=True, a=3.0), Atoms("O")]


def test_a_model_agrees_with_itself_and_with_itself_in_lower_precision() -> None:
    exact = model()
    rounded = recast(exact, torch.float32)
    found = compare({"a": exact, "b": exact, "c": rounded}, FRAMES)
    assert found.ok
    assert found.frames == 5
    pairs = {(one.first, one.second) for one in found.disagreements}
    assert pairs == {("a", "b"), ("a", "c"), ("b", "c")}
    assert {one.output for one in found.disagreements} == {"energy", "forces", "stress", "node_energy"}
    for one in found.disagreements:
        assert one.tolerance == (1e-9 if one.second == "b" else 1e-4)
        assert (one.relative == 0.0) == (one.second == "b")


@pytest.mark.parametrize(("output", "fault"), [("energy", 3e-6), ("forces", 2e-5)])
def test_a_disagreement_is_measured_at_its_size_in_its_frame(output: str, fault: float) -> None:
    """Water alone has three atoms. Energies are of order 1e3 eV, so that 3e-6 eV are known to 1e-12 of them."""
    exact = model()
    found = compare({"good": exact, "bad": Faulty(exact, output, fault, atoms=3)}, FRAMES)
    assert not found.ok
    assert (found.worst.output, found.worst.frame) == (output, 2)
    assert found.worst.largest == pytest.approx(fault, rel=1e-5)
    own = {one.output: one for one in found.disagreements}
    assert all(one.holds for name, one in own.items() if name != output)
    if output == "forces":
        from equic.runtime.predict import predict

        forces = np.concatenate([one["forces"].ravel() for one in predict(exact, FRAMES)])
        assert found.worst.relative == pytest.approx(fault / np.sqrt((forces**2).mean()), rel=1e-5)
    assert compare({"g": exact, "b": Faulty(exact, output, fault, atoms=3)}, FRAMES, tolerance=1e-2).ok


def test_a_number_that_is_not_finite_is_the_worst() -> None:
    exact = model()
    found = compare({"good": exact, "bad": Faulty(exact, "forces", float("nan"), atoms=3)}, FRAMES)
    assert not found.ok
    assert (found.worst.output, found.worst.frame) == ("forces", 2)
    json.dumps(found.to_json(), allow_nan=False)


def test_states_of_phase_space() -> None:
    one, other = (build_module(hnn_plan(dim=2), seed=seed, dtype=torch.float64) for seed in (0, 1))
    states = np.random.default_rng(0).normal(size=(7, 2))
    assert compare({"a": one, "b": one}, states).ok
    found = compare({"a": one, "b": other}, states)
    assert {one.output for one in found.disagreements} == {"derivatives", "hamiltonian"}
    assert not any(one.holds for one in found.disagreements)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="at least two"):
        compare({"a": model()}, FRAMES)
    with pytest.raises(DataError, match="different kinds"):
        compare({"a": model(), "b": build_module(hnn_plan(), seed=0)}, FRAMES)


def test_the_command_exits_with_1_on_a_disagreement(tmp_path: Path) -> None:
    for seed in (1, 2):
        save_artifact(tmp_path / f"{seed}.equic", model(seed), spec_text="equic: 1\n")
    FRAMES[1].write(tmp_path / "frames.xyz")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "equic", "compare", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    same = run("1.equic", "1.equic", "frames.xyz", "--json")
    assert same.returncode == 0, same.stderr
    assert json.loads(same.stdout)["ok"] is True
    other = run("1.equic", "2.equic", "frames.xyz")
    assert other.returncode == 1, other.stderr
    assert "the worst disagreement is" in " ".join(other.stdout.split())
    assert run("1.equic", "frames.xyz").returncode == 2
