"""The check of data: trends, facts kept by content, findings as diagnostics, all without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.cluster import Icosahedron
from ase.io import write
from equic.compiler.language.diagnostics import SpecError
from equic.runtime.data.audit import cache
from equic.runtime.data.audit.cache import cache_folder, cached_facts
from equic.runtime.data.audit.facts import FileFacts, LabelFacts, Trouble, facts_from_json
from equic.runtime.data.audit.findings import Kind
from equic.runtime.data.audit.trends import Trend, trend
from equic.runtime.data.audit.work import Labelled, force_trend, stress_trend
from equic.runtime.data.plausible import length_unit, nearest_over_radii
from hypothesis import given
from hypothesis import strategies as st

import equic
from equic.data_check import codes_of_kinds

ROOT = Path(__file__).parents[2]


def labelled(atoms, energy=1.0, forces=1.0, stress=1.0) -> Labelled:
    atoms = atoms.copy()
    atoms.calc = EMT()
    periodic = bool(atoms.pbc.all())
    return Labelled(
        atoms.numbers.astype(np.int64),
        atoms.positions,
        np.array(atoms.cell),
        periodic,
        energy * atoms.get_potential_energy(),
        forces * atoms.get_forces(),
        stress * atoms.get_stress(voigt=False) if periodic else None,
    )


def shaken(count: int, size: float, seed: int = 0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        atoms = Icosahedron("Cu", 2)
        atoms.positions += rng.normal(0, size, atoms.positions.shape)
        yield atoms


class TestTrends:
    def test_forces_and_energies_of_one_potential_agree(self):
        found = force_trend([labelled(atoms) for atoms in shaken(30, 0.05)])
        assert found.follows == 1
        assert 0.9 < found.ratio < 1.1

    def test_turned_and_moved_molecules_are_laid_over_each_other(self):
        rng, frames = np.random.default_rng(1), []
        for atoms in shaken(30, 0.05):
            atoms.rotate(rng.uniform(0, 360), rng.normal(size=3))
            atoms.positions += rng.normal(0, 5, 3)
            frames.append(labelled(atoms))
        found = force_trend(frames)
        straight = force_trend([labelled(atoms) for atoms in shaken(30, 0.05)])
        assert found.rank == pytest.approx(straight.rank, abs=1e-6)
        assert found.ratio == pytest.approx(straight.ratio, rel=1e-4)

    def test_atoms_that_crossed_a_face_of_the_cell_moved_little(self):
        rng, frames, crossed = np.random.default_rng(2), [], []
        for _ in range(20):
            atoms = bulk("Cu", cubic=True) * (2, 2, 2)
            atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
            frames.append(labelled(atoms))
            atoms.wrap()
            crossed.append(labelled(atoms))
        assert force_trend(crossed).ratio == pytest.approx(force_trend(frames).ratio, rel=1e-6)

    @pytest.mark.parametrize("factor", [-1.0, 23.06, 1 / 51.4])
    def test_a_factor_on_the_forces_shows(self, factor):
        found = force_trend([labelled(atoms, forces=factor) for atoms in shaken(30, 0.05)])
        assert found.follows == np.sign(factor)
        assert found.ratio == pytest.approx(1 / abs(factor), rel=0.1)

    def test_stress_and_volume(self):
        rng, frames = np.random.default_rng(3), []
        for _ in range(40):
            atoms = bulk("Cu", cubic=True)
            strain = rng.normal(0, 0.02, (3, 3))
            atoms.set_cell(atoms.cell @ (np.eye(3) + strain + strain.T), scale_atoms=True)
            atoms.positions += rng.normal(0, 0.01, atoms.positions.shape)
            frames.append(atoms)
        right = stress_trend([labelled(atoms) for atoms in frames])
        assert right.follows == 1
        assert 0.7 < right.ratio < 1.3
        wrong = stress_trend([labelled(atoms, stress=-160.2) for atoms in frames])
        assert wrong.follows == -1
        assert wrong.ratio == pytest.approx(right.ratio / 160.2, rel=1e-6)

    @given(st.integers(0, 2**32 - 1))
    def test_columns_of_chance_follow_nothing(self, seed):
        rng = np.random.default_rng(seed)
        found = trend(rng.normal(size=100), rng.normal(size=100))
        assert found is not None
        assert found.follows == 0

    def test_too_few_pairs_say_nothing(self):
        assert trend(np.arange(9.0), np.arange(9.0)) is None
        assert force_trend([]) is None

    def test_lengths_in_bohr(self):
        frames = list(shaken(5, 0.02))
        assert length_unit(nearest_over_radii(frames)) is None
        for atoms in frames:
            atoms.positions *= 1.8897
        assert length_unit(nearest_over_radii(frames)) == "bohr"
        cells = [bulk("Cu") * (1, 1, 1), bulk("Si"), bulk("Li")]
        assert length_unit(nearest_over_radii(cells)) is None


FACTS = FileFacts(
    frames=2,
    species={"Cu": 0},
    isolated={"Cu": None},
    atoms=(1, 2),
    labels={"energy": LabelFacts(2, [Trouble("shape", 1, 0, "wrong")], 1.0, -1.0, 1.0, True)},
    prints="0123456789abcdef" * 2,
    numbers=[0, 1],
    compositions=[({"Cu": 2}, 2, -1.0)],
    forces_trend=Trend(20, 0.9, 1.0, 0.5),
)


class TestCache:
    @pytest.fixture
    def file(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        path = tmp_path / "data.xyz"
        path.write_text("one", encoding="utf-8")
        return path

    def test_facts_read_back(self):
        assert facts_from_json(json.loads(json.dumps(FACTS.to_json()))) == FACTS

    def test_the_second_time_nothing_is_computed(self, file):
        asked = []

        def compute():
            asked.append(1)
            return FACTS

        assert cached_facts(file, {"a": 1}, compute) == cached_facts(file, {"a": 1}, compute) == FACTS
        assert len(asked) == 1
        cached_facts(file, {"a": 2}, compute)
        assert len(asked) == 2
        file.write_text("two", encoding="utf-8")
        cached_facts(file, {"a": 1}, compute)
        assert len(asked) == 3
        # the same content in another file is known
        other = file.with_name("copy.xyz")
        other.write_text("one", encoding="utf-8")
        cached_facts(other, {"a": 1}, compute)
        assert len(asked) == 3

    def test_a_file_with_known_times_is_not_read(self, file, monkeypatch):
        old = time.time() - 1000
        os.utime(file, (old, old))
        monkeypatch.setattr(cache, "_RECENT_NS", -(10**18))  # the inode has changed just now
        cached_facts(file, {}, lambda: FACTS)
        monkeypatch.setattr(cache.hashlib, "file_digest", None)
        assert cached_facts(file, {}, lambda: pytest.fail("computed again")) == FACTS

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"frames": 1}', "null"])
    def test_damaged_entries_count_as_absent(self, file, text):
        cached_facts(file, {}, lambda: FACTS)
        (entry,) = cache_folder().glob("*.json")
        entry.write_text(text, encoding="utf-8")
        assert cached_facts(file, {}, lambda: FACTS) == FACTS
        assert facts_from_json(json.loads(entry.read_text(encoding="utf-8"))) == FACTS

    def test_files_that_cannot_be_read_are_not_kept(self, file):
        cached_facts(file, {}, lambda: FileFacts(problem="no"))
        assert not list(cache_folder().glob("*.json"))

    def test_a_folder_that_cannot_be_written_is_no_error(self, file, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(file))
        assert cached_facts(file, {}, lambda: FACTS) == FACTS

    def test_many_at_once(self, file):
        found = []
        threads = [
            threading.Thread(target=lambda k=k: found.append(cached_facts(file, {"k": k % 3}, lambda: FACTS)))
            for k in range(24)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [FACTS] * 24
        assert not list(cache_folder().rglob("*.tmp"))


SPEC = """\
equic: 1
name: copper
system: {kind: atoms, species: [Cu], cutoff: 4.0 Å}
symmetry: {O(3): hard}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}
model: {architecture: mace, channels: 2, layers: 1, lmax: 1, hidden_lmax: 0, correlation: 1, radial: [4]}
data:
  train: {path: train.xyz, labels: {energy: {key: energy}, forces: {key: forces}}}
train: {epochs: 1}
"""


@pytest.fixture
def spec(tmp_path):
    frames = []
    for atoms in shaken(20, 0.05):
        one = labelled(atoms, forces=-1.0)
        atoms.calc = SinglePointCalculator(atoms, energy=one.energy, forces=one.forces)
        frames.append(atoms)
    write(tmp_path / "train.xyz", frames)
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def test_every_kind_of_finding_has_a_code_of_its_own():
    codes = codes_of_kinds()
    assert set(codes) == set(get_args(Kind))
    assert len(set(codes.values())) == len(codes)


def test_training_prints_doubts_and_goes_on(spec, capsys):
    run = equic.train(spec, runs=spec.parent, device="cpu", progress=True)
    assert run.artifact.exists()
    assert "warning[D516]: energies of train.xyz rise where its forces point" in capsys.readouterr().err


def test_training_stops_at_errors_before_anything_is_built(spec):
    with pytest.raises(SpecError, match=r"D507.*train\.xyz: frame 0 has no `force`"):
        equic.train(spec, ["data.train.labels.forces.key=force"], runs=spec.parent, progress=False)
    assert not (spec.parent / "copper").exists()


def test_the_check_needs_no_torch(spec):
    code = (
        f"import sys, equic; done = equic.check({str(spec)!r}, data=True); "
        "print([str(d.code) for d in done.report.diagnostics], "
        "[name for name in ('torch', 'vesin', 'e3nn', 'lightning') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['D516'] []"


def test_the_command_shows_what_was_read(spec):
    command = [sys.executable, "-m", "equic", "check", str(spec), "--data"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "20 frames of 13 atoms, train.xyz" in " ".join(run.stdout.split())
    assert "warning[D516]" in run.stderr
    found = json.loads(
        subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    )
    assert found["data"] == [{"set": "train", "file": "train.xyz", "frames": 20, "atoms": [13, 13]}]
