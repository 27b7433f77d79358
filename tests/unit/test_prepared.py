"""Prepared data: the same frames from disk, streamed, resumed; what does not fit or is damaged is refused."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from equic.runtime.data import compute_statistics, load_sets
from equic.runtime.data.prepared import PreparedFrames, prepare
from equic.runtime.data.sets import file_specs
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan
from equic.runtime.testing.data import displaced_molecules, with_data
from equic.runtime.testing.plans import mace_plan
from equic.runtime.testing.training import changed, same, weights_of
from equic.runtime.training import train
from equic.runtime.training.batches import TrainingStream

LABELS = {"energy": {"key": "energy", "factor": 2.0}, "forces": {"key": "forces", "factor": 2.0}}


@pytest.fixture
def data(saved: Any) -> Plan:
    """A plan with training data (one isolated atom in it), a drawn validation set and a test file."""
    lone = Atoms("H")
    lone.info.update(config_type="IsolatedAtom", energy=-13.0)
    frames = [*displaced_molecules(17), lone]
    frames[4].info["config_type"] = "hot"
    small = mace_plan(
        channels=4, lmax=1, correlation=2, layers=1, species=("H", "C", "O"), stress=False, widths=(8,)
    )
    sets = {
        "train": {"path": saved("a.xyz", frames), "labels": LABELS},
        "validation": {"count": 4},
        "test": {"path": saved("b.xyz", displaced_molecules(5, seed=1))},
    }
    return changed(with_data(small, sets), epochs=3, batch=3, ema=0.9)


def prepared(plan: Plan, folder: Path, **options: Any) -> Plan:
    """The same plan, streaming from `folder`, which is filled."""
    prepare(plan, file_specs(plan), folder, **options)
    document = plan.to_json()
    document["data"]["prepared"] = str(folder)
    return Plan.from_json(document)


def test_prepared_frames_are_the_frames_of_the_file(data: Plan, tmp_path: Path) -> None:
    memory = load_sets(data)
    disk = load_sets(prepared(data, tmp_path / "p", shard_bytes=5_000))
    assert len(list((tmp_path / "p" / "train").glob("0*"))) >= 3
    assert list(disk) == list(memory)
    assert isinstance(disk["train"].frames, PreparedFrames)
    for name in memory:
        for a, b in zip(disk[name], memory[name], strict=True):
            assert (a.source, a.config_type, a.per_atom) == (b.source, b.config_type, b.per_atom)
            for field in ("numbers", "species", "positions", "cell", "pbc", "edges", "shifts"):
                x, y = getattr(a, field), getattr(b, field)
                assert x.dtype == y.dtype
                np.testing.assert_array_equal(x, y)
            assert a.labels.keys() == b.labels.keys()
            for target in a.labels:
                np.testing.assert_array_equal(a.labels[target], b.labels[target])
    assert [frame.source for frame in disk["train"].isolated] == [f.source for f in memory["train"].isolated]
    assert compute_statistics(data, disk["train"]) == compute_statistics(data, memory["train"])


# two workers are asked for on machines of one core too
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_streamed_run_is_the_run_in_memory_and_resumes(
    data: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    whole = train(data, directory=tmp_path / "memory", device="cpu", progress=False)
    plan = prepared(data, tmp_path / "p", shard_bytes=5_000)

    def run(**options: Any) -> Any:
        return train(
            plan, directory=tmp_path / "disk", device="cpu", progress=False, workers=workers, **options
        )

    order, parent = TrainingStream.order, os.getpid()

    def order_and_stop(self: TrainingStream, at: int) -> np.ndarray:
        if at == 7:
            os.kill(parent, signal.SIGINT)
        return order(self, at)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStream, "order", order_and_stop)
        assert run().interrupted
    assert same(weights_of(whole.model), weights_of(run(resume=True).model))


def test_what_is_there_already_is_left_alone(data: Plan, tmp_path: Path) -> None:
    counts = prepare(data, file_specs(data), tmp_path / "p")
    assert counts == {"train": 17, "test": 5}
    marks = {file: file.stat().st_mtime_ns for file in (tmp_path / "p").rglob("*.npy")}
    prepare(data, file_specs(data), tmp_path / "p")
    assert marks == {file: file.stat().st_mtime_ns for file in (tmp_path / "p").rglob("*.npy")}


def test_what_does_not_fit_is_refused(data: Plan, tmp_path: Path) -> None:
    plan = prepared(data, tmp_path / "p")

    def other(change: Any) -> Plan:
        document = plan.to_json()
        change(document)
        return Plan.from_json(document)

    with pytest.raises(DataError, match="`cutoff` was"):
        load_sets(other(lambda plan: plan["system"].update(cutoff=3.5)))
    with pytest.raises(DataError, match="`labels` was"):
        load_sets(other(lambda plan: plan["data"]["sets"]["train"]["labels"]["energy"].update(factor=1.0)))
    with pytest.raises(DataError, match="holds no prepared data"):
        load_sets(other(lambda plan: plan["data"].update(prepared=str(tmp_path / "q"))))
    path = Path(data.data["sets"]["train"]["path"])
    path.write_text(path.read_text() + path.read_text())
    with pytest.raises(DataError, match="the file has changed since"):
        load_sets(plan)
    path.unlink()  # the frames are prepared: their file is not needed any more
    assert len(load_sets(plan)["train"]) == 13


def test_damage_is_found(data: Plan, tmp_path: Path) -> None:
    plan = prepared(data, tmp_path / "p")
    file = tmp_path / "p" / "train" / "00000" / "positions.npy"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"positions\.npy is damaged"):
        load_sets(plan)
    file.write_bytes(content[:-8])
    with pytest.raises(DataError, match=r"positions\.npy"):
        load_sets(plan)
    (tmp_path / "p" / "train" / "index.json").write_text("{")
    with pytest.raises(DataError, match=r"index\.json cannot be read"):
        load_sets(plan)
