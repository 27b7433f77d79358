"""The search of one worker: starting points, resuming, failures, budgets, damaged journals."""

import json
import math
from types import SimpleNamespace

import pytest
from equic.runtime.errors import EquicError
from equic.runtime.tuning import (
    Space,
    TrialContext,
    TrialOutcome,
    TuningError,
    TuningResult,
    starting_points,
    tune,
)
from equic.runtime.tuning.journal import mend
from equic.runtime.tuning.spaces import canonical, changes
from equic.runtime.tuning.starts import decode, encode
from hypothesis import given, settings
from hypothesis import strategies as st

STRENGTH = Space("symmetry.O(3).relaxed", "float", 1e-4, 1, log=True, subject="O(3)", anchors=(0.0, 1.0))
MODE = Space(
    "symmetry.inversion",
    "choice",
    choices=("hard", {"relaxed": 0.1}, {"relaxed": 0.5}, "free"),
    subject="inversion",
)
RATE = Space("train.learning_rate", "float", 1e-4, 1e-1, log=True, default=0.01)
X = Space("x", "float", -1.0, 1.0)


def square(values, context):
    return TrialOutcome(values["x"] ** 2, {"test": 1.0 + values["x"]}, artifact=f"trial-{context.number}")


def search(folder, objective=square, spaces=(X,), trials=8, **options):
    options = {"seed": 1, "progress": False, **options}
    return tune(
        spaces=spaces,
        objective=objective,
        storage=folder / "s.journal",
        study_name="s",
        trials=trials,
        **options,
    )


def settled(result):
    return sum(row.settled for row in result.rows)


# --- spaces and starting points


def test_spaces_of_the_compiler_become_spaces_of_the_runtime():
    marked = SimpleNamespace(
        name="symmetry.SO(3).relaxed", path=("symmetry", "SO(3)", "relaxed"), kind="float",
        low=1e-4, high=1.0, log=True, step=None, choices=(), default=None, span=None,
    )  # fmt: skip
    space = Space.from_search(marked)
    assert space.subject == "SO(3)"
    assert space.anchors == (0.0, 1.0)
    for path, subject in (
        (("symmetry", "permutation", "mode"), "permutation"),
        (("constraints", "hamiltonian", "relaxed"), "hamiltonian"),
        (("constraints", "hamiltonian", "friction"), None),
        (("train", "learning_rate"), None),
    ):
        marked.path, marked.name = path, ".".join(path)
        assert Space.from_search(marked).subject == subject


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"kind": "float", "low": 1.0, "high": 1.0}, "not below"),
        ({"kind": "float", "low": 0.0, "high": 1.0, "log": True}, "logarithmic and starts at 0"),
        ({"kind": "float", "low": 0.0, "high": 1.0, "step": 0.3}, "write `high: 0.9`"),
        ({"kind": "float", "low": math.nan, "high": 1.0}, "finite numbers"),
        ({"kind": "int", "low": 1.5, "high": 4}, "not of integers"),
        ({"kind": "choice"}, "no choices"),
        ({"kind": "choice", "choices": ({"a": 1, "b": 2}, {"b": 2, "a": 1})}, "twice"),
        ({"kind": "choice", "choices": (object(),)}, "not plain data"),
        ({"kind": "list"}, "kinds are"),
    ],
)
def test_impossible_spaces_are_refused_with_the_name_and_a_reason(fields, says):
    with pytest.raises(TuningError) as error:
        Space("train.width", **fields)
    assert says in str(error.value)


def test_starting_points_are_the_ends_of_dials_then_defaults_then_other_ends_without_duplicates():
    starts = starting_points((STRENGTH, MODE, RATE), trials=40)
    texts = [canonical(start.values) for start in starts]
    assert len(set(texts)) == len(texts)
    strengths = [start.values["symmetry.O(3).relaxed"] for start in starts]
    assert strengths[:3] == [0.0, 1.0, 1e-4]  # `high` is the anchor 1 again
    modes = [canonical(start.values["symmetry.inversion"]) for start in starts]
    assert set(modes) == {canonical(choice) for choice in MODE.choices}
    assert [start.values["train.learning_rate"] for start in starts][-2:] == [1e-4, 1e-1]
    assert all(start.anchored for start in starts[:7])
    # the dials are always measured, the rest leaves half of the trials to the sampler
    assert len(starting_points((STRENGTH, MODE, RATE), trials=4)) == 7
    assert [s.values for s in starting_points((STRENGTH,), trials=1)] == [
        {STRENGTH.name: 0.0}, {STRENGTH.name: 1.0}, {STRENGTH.name: 1e-4},
    ]  # fmt: skip


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1e6, 1e6) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(choices=st.lists(plain, min_size=1, max_size=5, unique_by=canonical), strength=st.floats(0, 2))
def test_points_survive_their_stored_form(choices, strength):
    mode = Space("mode", "choice", choices=tuple(choices))
    dial = Space("s", "float", 0.1, 1.0)
    for choice in choices:
        values = {"mode": choice, "s": strength}
        params, pinned = encode((mode, dial), values)
        stored = json.loads(json.dumps([params, pinned]))
        assert decode((mode, dial), *stored) == values
        assert all(isinstance(param, str | float) for param in params.values())
        assert dial.contains(params["s"])
        mode.distribution()  # Optuna takes these choices without a warning


def test_what_changed_between_two_specs_is_named():
    before = [STRENGTH.describe(), MODE.describe(), X.describe()]
    other = Space(STRENGTH.name, "float", 1e-3, 1, log=True)
    fewer = Space(MODE.name, "choice", choices=("hard", "free"))
    lines = changes(json.loads(json.dumps(before)), (other, fewer, RATE))
    assert lines[:2] == ["`x` is no longer searched", "`train.learning_rate` was not searched before"]
    assert lines[2] == "`low` of `symmetry.O(3).relaxed` was 0.0001 and is now 0.001"
    assert "`choices` of `symmetry.inversion`" in lines[3]
    assert not changes(before, (STRENGTH, MODE, X))


# --- one worker


def test_a_search_measures_the_end_points_first_and_finds_the_minimum(tmp_path):
    def objective(values, context):
        s = values[STRENGTH.name]
        penalty = {"hard": 0.0, "free": 0.4}.get(str(values[MODE.name]), 0.2)
        return TrialOutcome((s - 0.3) ** 2 + penalty + 0.1 * abs(math.log10(values[RATE.name]) + 2))

    result = search(tmp_path, objective, (STRENGTH, MODE, RATE), trials=40)
    assert settled(result) == 40
    assert [row.values[STRENGTH.name] for row in result.rows[:3]] == [0.0, 1.0, 1e-4]
    assert result.best_values[MODE.name] == "hard"
    assert result.best_objective < 0.05
    assert result.best_row.objective == result.best_objective
    assert result.best_objective == min(row.objective for row in result.rows)
    assert result.sampler.startswith("TPESampler")
    assert set(result.importance) == {STRENGTH.name, MODE.name, RATE.name}
    assert sum(result.importance.values()) == pytest.approx(1.0)
    assert not list(tmp_path.glob("*.workers"))


def test_mapping_choices_reach_the_objective_as_mappings_also_after_a_restart(tmp_path):
    seen = []

    def objective(values, context):
        seen.append(values[MODE.name])
        return TrialOutcome(float(len(seen)))

    search(tmp_path, objective, (MODE,), trials=3)
    result = search(tmp_path, objective, (MODE,), trials=6)
    assert len(seen) == 6
    assert all(value in MODE.choices for value in seen)
    assert {canonical(row.values[MODE.name]) for row in result.rows} == {canonical(c) for c in MODE.choices}


def test_maximize(tmp_path):
    result = search(tmp_path, lambda v, c: TrialOutcome(-(v["x"] ** 2)), trials=6, direction="maximize")
    assert result.best_objective == max(row.objective for row in result.rows)


def test_a_resumed_search_equals_an_uninterrupted_one(tmp_path):
    def objective(values, context):
        return TrialOutcome((values[STRENGTH.name] - 0.3) ** 2)

    whole = search(tmp_path / "whole", objective, (STRENGTH,), trials=14)
    for trials in (3, 9, 14):
        parts = search(tmp_path / "parts", objective, (STRENGTH,), trials=trials)
        assert settled(parts) == trials
    assert [row.values for row in parts.rows] == [row.values for row in whole.rows]
    again = search(tmp_path / "parts", objective, (STRENGTH,), trials=14)
    assert again.rows == parts.rows


def test_results_are_plain_data_and_come_back(tmp_path):
    result = search(tmp_path, lambda v, c: TrialOutcome(v["x"] ** 2, {"a": math.inf, "b": 2.0}), trials=5)
    text = json.dumps(result.to_json(), allow_nan=False)
    assert TuningResult.from_json(json.loads(text)) == result
    assert result.rows[0].metrics == {"a": None, "b": 2.0}


def test_failed_trials_are_recorded_with_their_reason_and_do_not_stop_the_search(tmp_path):
    def objective(values, context):
        match context.number % 4:
            case 0:
                raise EquicError("the cell is too small", help="take a larger one")
            case 1:
                return TrialOutcome(math.nan)
            case 2:
                raise ZeroDivisionError("division by zero")
        return square(values, context)

    result = search(tmp_path, objective, trials=8)
    assert settled(result) == 8
    reasons = [row.reason for row in result.rows]
    assert reasons[:4] == [
        "the cell is too small", "the objective is nan", "ZeroDivisionError: division by zero", None,
    ]  # fmt: skip
    assert [row.state for row in result.rows[:4]] == ["failed", "failed", "failed", "complete"]
    assert result.best.count == 1


def test_a_search_in_which_everything_fails_says_why(tmp_path):
    def objective(values, context):
        raise EquicError("no such file: a.xyz")

    with pytest.raises(TuningError, match=r"all 5 trials failed: no such file: a\.xyz"):
        search(tmp_path, objective, trials=20)
    with pytest.raises(TuningError, match="all 2 trials failed"):
        search(tmp_path / "short", objective, trials=2)


def test_a_mistake_in_the_program_comes_through_and_is_recorded(tmp_path):
    def objective(values, context):
        if context.number == 1:
            raise TypeError("not a number")
        return square(values, context)

    with pytest.raises(TypeError, match="not a number"):
        search(tmp_path, objective)
    result = search(tmp_path, objective)
    assert settled(result) == 8
    assert result.rows[1].reason == "TypeError: not a number"


def test_ctrl_c_returns_what_is_there_and_runs_the_trial_again(tmp_path):
    interrupted = []

    def objective(values, context):
        if context.number == 3 and not interrupted:
            interrupted.append(values)
            raise KeyboardInterrupt
        return square(values, context)

    result = search(tmp_path, objective)
    assert result.stopped == "interrupted"
    assert settled(result) == 3
    assert result.rows[3].state == "lost"
    result = search(tmp_path, objective)
    assert result.stopped == "finished"
    assert settled(result) == 8
    again = next(row for row in result.rows if row.retry_of == 3)
    assert again.values == interrupted[0]


def test_hopeless_trials_are_pruned_but_never_the_end_points_of_a_dial(tmp_path):
    lengths = {}

    def objective(values, context):
        s = values[STRENGTH.name]
        for step in range(10):
            lengths[context.number] = step + 1
            context.report(step, s + 1.0)
            context.report(step, s + 1.0)  # reporting a step twice is harmless
        return TrialOutcome(s + 1.0)

    result = search(tmp_path, objective, (STRENGTH,), trials=24)
    pruned = [row for row in result.rows if row.state == "pruned"]
    assert pruned
    assert all("worse than the median" in row.reason for row in pruned)
    assert all(3 < lengths[row.number] < 10 for row in pruned)
    assert [row.state for row in result.rows[:3]] == ["complete"] * 3  # s = 1 is the worst of all


def test_an_objective_may_give_a_trial_up_itself(tmp_path):
    import optuna

    def objective(values, context):
        if context.number == 2:
            raise optuna.TrialPruned("the loss explodes")
        return square(values, context)

    result = search(tmp_path, objective, trials=4)
    assert (result.rows[2].state, result.rows[2].reason) == ("pruned", "the loss explodes")


def test_the_time_budget_is_shared_between_the_trials_and_kept(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("equic.runtime.tuning.search.time", SimpleNamespace(monotonic=lambda: now[0]))
    seen = []

    def objective(values, context):
        seen.append((context.seconds_left, context.seconds_per_trial))
        now[0] += 10.0 if len(seen) < 3 else 150.0
        return square(values, context)

    result = search(tmp_path, objective, trials=5, minutes=5.0)
    assert result.stopped == "time"
    assert settled(result) == 4
    assert result.seconds == 320.0
    # time that the first two saved is not given to the others, and no share is longer than what is left
    assert seen == [(300.0, 60.0), (290.0, 60.0), (280.0, 60.0), (130.0, 60.0)]
    assert [row.seconds for row in result.rows] == [10.0, 10.0, 150.0, 150.0]
    assert search(tmp_path, trials=5).stopped == "finished"
    seen.clear()
    search(tmp_path, objective, trials=8, minutes=1.0)
    assert seen == [(60.0, 20.0), (50.0, 20.0), (40.0, 20.0)]


def test_without_a_budget_there_is_no_share(tmp_path):
    def objective(values, context: TrialContext):
        assert context.seconds_left is None
        assert context.seconds_per_trial is None
        return square(values, context)

    search(tmp_path, objective, trials=1)


def test_repeats_measure_the_best_point_and_its_hard_and_free_twins_with_other_seeds(tmp_path):
    def objective(values, context):
        noise = 0.001 * (-1) ** context.repeat
        return TrialOutcome(abs(values[STRENGTH.name] - 0.3) + 0.1 + noise * (context.number % 3))

    result = search(tmp_path, objective, (STRENGTH, RATE), trials=12, repeats=3)
    repeats = [row for row in result.rows if row.is_repeat]
    assert len(repeats) == 9
    assert settled(result) == 12 + 9
    best = result.best
    assert best.repeated
    assert best.count == 3
    assert best.spread is not None
    twins = {canonical(row.values) for row in repeats}
    assert twins == {
        canonical({**best.values, STRENGTH.name: s}) for s in (best.values[STRENGTH.name], 0.0, 1.0)
    }
    assert search(tmp_path, objective, (STRENGTH, RATE), trials=12, repeats=3).rows == result.rows


# --- the stored study

CODE_99 = '{"op_code": 99, "worker_id": "w"}\n'


def test_another_spec_is_not_mixed_into_a_study(tmp_path):
    search(tmp_path, trials=2, fingerprint="a")
    with pytest.raises(TuningError, match="`high` of `x` was 1 and is now 2"):
        search(tmp_path, spaces=(Space("x", "float", -1.0, 2.0),), trials=4)
    with pytest.raises(TuningError, match="was to minimize, now to maximize"):
        search(tmp_path, trials=4, direction="maximize")
    with pytest.raises(TuningError, match="outside of its search spaces"):
        search(tmp_path, trials=4, fingerprint="b")
    assert settled(search(tmp_path, trials=3, fingerprint="a")) == 3


def test_wrong_use_is_refused(tmp_path):
    with pytest.raises(TuningError, match="marks no field"):
        search(tmp_path, spaces=())
    with pytest.raises(TuningError, match="searched twice: x"):
        search(tmp_path, spaces=(X, X))
    with pytest.raises(TuningError, match="number of trials is 0"):
        search(tmp_path, trials=0)
    with pytest.raises(TuningError, match="direction is `down`"):
        search(tmp_path, direction="down")
    with pytest.raises(TuningError, match="budget is 0 minutes"):
        search(tmp_path, minutes=0.0)


def test_files_that_are_no_journals_are_refused_and_kept(tmp_path):
    file = tmp_path / "s.journal"
    for text in ("name: ethanol\n", '{"a": 1}\n', "SQLite format 3\x00", '{"op_code": 99}\n', CODE_99):
        file.write_text(text)
        with pytest.raises(TuningError, match="is not a journal"):
            search(tmp_path)
        assert file.read_text() == text
    file.unlink()
    file.mkdir()
    with pytest.raises(TuningError, match="cannot be written"):
        search(tmp_path)


def test_a_study_of_another_program_is_refused(tmp_path):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "s.journal")))
    study = optuna.create_study(storage=storage, study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(TuningError, match="not begun by equic"):
        search(tmp_path)


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_journal_whose_last_line_was_cut_is_mended_and_says_so(tmp_path, cut):
    search(tmp_path, trials=4)
    file = tmp_path / "s.journal"
    file.write_bytes(file.read_bytes()[:-cut])
    result = search(tmp_path, trials=7)
    assert settled(result) == 7
    assert "was cut short" in result.notes[0]
    assert mend(file) == []


@settings(max_examples=25, deadline=None)
@given(place=st.integers(1, 10**6), cut=st.integers(1, 60))
def test_lines_that_were_joined_to_a_fragment_are_kept(tmp_path_factory, place, cut):
    lines = [b'{"op_code":%d,"worker_id":"w","text":"{\\"op"}' % k for k in range(6)]
    place = place % (len(lines) - 1)
    fragment = lines[place][: min(cut, len(lines[place]) - 1)]
    broken = [*lines[:place], fragment + lines[place + 1], *lines[place + 2 :]]
    file = tmp_path_factory.mktemp("journal") / "s.journal"
    file.write_bytes(b"\n".join(broken) + b"\n")
    notes = mend(file)
    assert file.read_bytes().splitlines() == lines[:place] + lines[place + 1 :]
    assert len(notes) == 1
