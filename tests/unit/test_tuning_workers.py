"""Several workers on one search: none does too much, and what a killed one leaves is taken over."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from equic.runtime.tuning import Space, TrialOutcome, tune
from equic.runtime.tuning.workers import Worker, at_work, count_alive, process_start

X = Space("x", "float", -1.0, 1.0)


def square(values, context):
    return TrialOutcome(values["x"] ** 2)


def search(folder, objective=square, trials=8):
    return tune(
        spaces=(X,), objective=objective, storage=folder / "s.journal", study_name="s", trials=trials, seed=1,
        progress=False,
    )  # fmt: skip


def settled(result):
    return sum(row.settled for row in result.rows)


WORKER = """
import sys, time
from pathlib import Path
from equic.runtime.tuning import Space, TrialOutcome, tune

folder, seconds, trials = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])

def objective(values, context):
    (folder / f"began-{context.number}").touch()
    time.sleep(seconds)
    return TrialOutcome(values["x"] ** 2)

result = tune(spaces=[Space("x", "float", -1.0, 1.0)], objective=objective, storage=folder / "s.journal",
              study_name="s", trials=trials, seed=1, progress=False, workers_id=sys.argv[4])
sys.exit(0 if sum(row.settled for row in result.rows) == trials else 3)
"""


def start_worker(folder: Path, seconds: float, trials: int, label: str) -> subprocess.Popen:
    command = [sys.executable, "-W", "error", "-c", WORKER, str(folder), str(seconds), str(trials), label]
    return subprocess.Popen(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"})


def wait_for(condition, seconds=20.0):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.02)


def test_two_processes_finish_exactly_the_wanted_number_without_loss(tmp_path):
    workers = [start_worker(tmp_path, 0.05, 16, label) for label in ("a", "b")]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    result = search(tmp_path, trials=16)
    assert [row.number for row in result.rows] == list(range(16))
    assert all(row.state == "complete" for row in result.rows)
    assert {row.worker for row in result.rows} == {"a", "b"}
    assert len({row.values["x"] for row in result.rows}) == 16  # no two drew the same point


def test_the_trial_of_a_killed_worker_is_reclaimed_and_runs_again(tmp_path):
    victim = start_worker(tmp_path, 600.0, 6, "victim")
    wait_for(lambda: (tmp_path / "began-0").exists())
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait(timeout=10)
    result = search(tmp_path, trials=6)
    assert settled(result) == 6
    assert result.rows[0].state == "lost"
    again = next(row for row in result.rows if row.retry_of == 0)
    assert again.state == "complete"
    assert again.values == result.rows[0].values
    assert "trial 0 was lost by worker victim" in result.notes[0]
    assert not list(tmp_path.glob("*.workers"))


def test_a_waiting_worker_takes_over_from_one_that_is_killed(tmp_path):
    victim = start_worker(tmp_path, 600.0, 2, "victim")
    wait_for(lambda: (tmp_path / "began-0").exists())
    helper = start_worker(tmp_path, 0.0, 2, "other")
    wait_for(lambda: (tmp_path / "began-1").exists())
    time.sleep(0.3)
    assert helper.poll() is None  # it waits for the last trial, which is under way elsewhere
    os.kill(victim.pid, signal.SIGKILL)
    assert helper.wait(timeout=20) == 0
    victim.wait(timeout=10)


def test_a_trial_that_kills_its_worker_every_time_is_given_up(tmp_path):
    for number in range(3):
        victim = start_worker(tmp_path, 600.0, 1, "victim")
        wait_for(lambda number=number: (tmp_path / f"began-{number}").exists())
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait(timeout=10)
    result = search(tmp_path, trials=2)
    assert [row.state for row in result.rows] == ["lost", "lost", "failed", "complete"]
    assert result.rows[2].reason == "its worker died 3 times"


def test_a_worker_that_was_only_slow_ends_its_trial_quietly(tmp_path):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    def take_away(number):
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "s.journal")))
        study = optuna.load_study(storage=storage, study_name="s")
        study.tell(number, state=optuna.trial.TrialState.FAIL)

    def objective(values, context):
        if context.number in (2, 4):
            take_away(context.number)
        if context.number == 4:
            context.report(0, 1.0)
        return square(values, context)

    result = search(tmp_path, objective, trials=6)
    assert settled(result) == 6
    assert [row.state for row in result.rows if row.number in (2, 4)] == ["lost", "lost"]


def test_signs_of_life(tmp_path):
    worker = Worker.here("me")
    assert Worker.from_json(json.loads(json.dumps(worker.to_json()))) == worker
    folder = tmp_path / "signs"
    with at_work(worker, folder):
        assert worker.is_alive(folder)
        assert count_alive(folder) == 1
        elsewhere = Worker("another host", worker.pid, worker.start, "t", "other")
        sign = folder / elsewhere.file_name
        sign.write_text(json.dumps(elsewhere.to_json()))
        assert count_alive(folder) == 2
        os.utime(sign, (time.time() - 1000, time.time() - 1000))
        assert not elsewhere.is_alive(folder)
        assert count_alive(folder) == 1
        assert not sign.exists()
    assert not worker.is_alive(folder)
    assert process_start(os.getpid()) == worker.start
    assert process_start(2**22 + 1) is None
