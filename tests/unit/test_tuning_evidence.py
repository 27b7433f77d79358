"""What a search has shown: one line and one table, on synthetic results with known contents."""

import itertools

import pytest
from equic.runtime.tuning import Space, TrialRow, TuningError, TuningResult, evidence, render_tuning
from equic.runtime.tuning.render import duration, short_names, telling_metrics
from equic.runtime.tuning.result import best_point, points
from equic.runtime.tuning.strictness import place, strictness, with_strictness
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

S, RATE = "symmetry.O(3).relaxed", "train.learning_rate"
DIAL = Space(S, "float", 1e-3, 1.0, log=True, subject="O(3)", anchors=(0.0, 1.0))
MODE = Space("symmetry.inversion", "choice", choices=("hard", {"relaxed": 0.1}, "free"), subject="inversion")
SPEED = Space(RATE, "float", 1e-4, 1e-1, log=True, default=0.01)


def table(*entries, direction="minimize", **fields):
    """A result of trials (values, objective, further fields of the row)."""
    rows = []
    for number, (values, objective, *more) in enumerate(entries):
        state = "complete" if objective is not None else "failed"
        row = {
            "number": number,
            "values": values,
            "state": state,
            "objective": objective,
            **(more or [{}])[0],
        }
        rows.append(TrialRow(**row))
    names = tuple(entries[0][0]) if entries else (S,)
    return TuningResult(
        **{
            "name": "inertia", "direction": direction, "wanted": len(rows), "rows": tuple(rows),
            "spaces": names, "importance": {}, "sampler": "TPESampler", "storage": "/tmp/s.journal", **fields,
        }
    )  # fmt: skip


def dial(*pairs, **fields):
    return table(*[({S: s}, objective, *more) for s, objective, *more in pairs], **fields)


ONE_RUN = " (one run each: the spread was not measured, below 5 % counts as equal)"


def test_a_broken_symmetry_is_shown_against_both_ends():
    line = evidence(dial((0.0, 1.05), (1.0, 4.8), (0.1, 0.4), (0.3, 0.21)), [DIAL])
    assert line == (
        "O(3) is broken in this data: s = 0.3, validation error 0.21 against 1.05 hard (s = 0) "
        "and 4.8 free (s = 1)" + ONE_RUN
    )


def test_a_symmetry_that_is_best_when_hard_holds():
    line = evidence(dial((0.0, 0.157), (1.0, 3.8), (0.1, 0.4)), [DIAL], noun="test error", unit="meV")
    assert line == (
        "O(3) holds in this data: hard (s = 0), test error 0.157 meV against 3.8 meV free (s = 1); "
        "nothing is gained by relaxing it" + ONE_RUN
    )


def test_a_tie_with_the_hard_end_means_that_the_symmetry_holds():
    line = evidence(dial((0.0, 0.213), (1.0, 4.8), (0.3, 0.21)), [DIAL])
    assert line == (
        "O(3) holds in this data: 0.213 hard (s = 0) is within 5 % of the best, s = 0.3, "
        "validation error 0.21; nothing is gained by relaxing it" + ONE_RUN
    )


def repeated(*groups):
    """Points with several seeds: the search's own run and the repetitions after it."""
    return dial(*[(s, value, {"repeat": k}) for s, values in groups for k, value in enumerate(values)])


def test_with_repetitions_the_measured_spread_decides():
    # the lucky run by which a point was chosen does not count
    tie = repeated((0.0, [1.0, 1.02, 0.98, 1.0]), (0.3, [0.5, 0.97, 1.0, 1.01]), (1.0, [4.8, 4.7, 4.8, 4.9]))
    line = evidence(tie, [DIAL])
    assert line.startswith(
        "O(3) holds in this data: 1 ± 0.01 hard (s = 0) is within the spread of the best, s = 0.3"
    )
    assert "one run each" not in line
    clear = repeated(
        (0.0, [1.0, 1.02, 0.98, 1.0]), (0.3, [0.9, 0.91, 0.9, 0.92]), (1.0, [4.8, 4.7, 4.8, 4.9])
    )
    assert evidence(clear, [DIAL]) == (
        "O(3) is broken in this data: s = 0.3, validation error 0.91 ± 0.006 against 1 ± 0.01 hard (s = 0) "
        "and 4.8 ± 0.06 free (s = 1)"
    )


def test_a_gain_below_five_percent_counts_when_the_spread_is_smaller():
    small = repeated((0.0, [1.0, 1.001, 0.999]), (0.3, [0.97, 0.971, 0.969]))
    line = evidence(small, [DIAL])
    assert "is broken" in line
    assert line.endswith("against 1 ± 0.001 hard (s = 0); free (s = 1) was not measured")


def test_a_missing_hard_end_leaves_the_question_open_and_names_the_nearest():
    line = evidence(dial((1e-3, 1.01), (1.0, 4.8), (0.3, 0.21)), [DIAL])
    assert line == (
        "O(3) is undecided: the best is s = 0.3, validation error 0.21, but hard (s = 0) was not measured "
        "(the nearest was s = 0.001: 1.01); against 4.8 free (s = 1)" + ONE_RUN
    )


def test_a_missing_free_end_is_named():
    line = evidence(dial((0.0, 1.05), (0.3, 0.21), (0.9, 2.0)), [DIAL])
    assert line.startswith(
        "O(3) is broken in this data: s = 0.3, validation error 0.21 against 1.05 hard (s = 0)"
    )
    assert "; free (s = 1) was not measured (the nearest was s = 0.9: 2)" in line


def test_only_the_hard_end_shows_nothing():
    assert evidence(dial((0.0, 1.05)), [DIAL]).startswith(
        "O(3) is undecided: hard (s = 0), validation error 1.05, and nothing else was measured"
    )


@pytest.mark.parametrize(
    ("end", "says"),
    [
        ({"reason": "out of memory"}, "hard (s = 0) failed (out of memory)"),
        ({"state": "pruned", "reason": "2 at step 3"}, "hard (s = 0) was pruned (2 at step 3)"),
    ],
)
def test_an_end_that_did_not_complete_is_named_with_the_reason(end, says):
    line = evidence(dial((0.0, None, end), (1.0, 4.8), (0.3, 0.21)), [DIAL])
    assert line.startswith(f"O(3) is undecided: the best is s = 0.3, validation error 0.21, but {says}")


def test_free_is_best():
    line = evidence(dial((0.0, 1.05), (0.3, 0.5), (1.0, 0.2)), [DIAL])
    assert line.startswith(
        "O(3) is broken in this data: free (s = 1), validation error 0.2 against 1.05 hard (s = 0); "
        "nothing is gained by keeping it"
    )


def test_free_is_as_good_as_the_best():
    line = evidence(dial((0.0, 1.05), (0.3, 0.21), (1.0, 0.212)), [DIAL])
    assert "against 1.05 hard (s = 0); 0.212 free (s = 1) is as good" in line


def test_modes_are_placed_on_the_ladder():
    entries = [({"symmetry.inversion": mode}, value) for mode, value in
               (("hard", 2.0), ({"relaxed": 0.1}, 0.5), ("free", 1.0))]  # fmt: skip
    assert evidence(table(*entries), [MODE]) == (
        "inversion is broken in this data: s = 0.1, validation error 0.5 against 2 hard (s = 0) "
        "and 1 free (s = 1)" + ONE_RUN
    )


def test_ends_that_differ_in_other_fields_make_it_look_broken_only():
    far = table(({S: 0.0, RATE: 0.1}, 1.0), ({S: 0.3, RATE: 0.01}, 0.2), ({S: 1.0, RATE: 0.01}, 3.0))
    line = evidence(far, [DIAL, SPEED])
    assert line.startswith("O(3) looks broken in this data: s = 0.3")
    assert "(these differ in other fields, too)" in line
    twin = table(({S: 0.0, RATE: 0.1}, 0.9), ({S: 0.0, RATE: 0.01}, 1.0), ({S: 0.3, RATE: 0.01}, 0.2))
    line = evidence(twin, [DIAL, SPEED])
    assert line.startswith("O(3) is broken in this data")
    assert "1 hard (s = 0)" in line  # the twin of the best, not the best of the hard ones


def test_several_constraints_make_one_line():
    name = MODE.name
    entries = [({S: s, name: mode}, value) for s, mode, value in
               ((0.0, "hard", 1.0), (0.3, "hard", 0.2), (1.0, "hard", 2.0), (0.3, "free", 0.9))]  # fmt: skip
    line = evidence(table(*entries), [DIAL, MODE])
    assert line.startswith("O(3) is broken in this data: s = 0.3")
    assert (
        "; inversion holds in this data: hard (s = 0), validation error 0.2 against 0.9 free (s = 1)" in line
    )
    assert line.count("one run each") == 1


def test_more_can_be_better():
    line = evidence(dial((0.0, 0.7), (0.3, 0.9), (1.0, 0.6), direction="maximize"), [DIAL], noun="accuracy")
    assert line.startswith(
        "O(3) is broken in this data: s = 0.3, accuracy 0.9 against 0.7 hard (s = 0) and 0.6"
    )


def test_a_metric_judges_what_the_objective_has_chosen():
    def with_test(value):
        return {"metrics": {"test.mse": value}}

    result = dial((0.0, 1.0, with_test(0.30)), (0.3, 0.2, with_test(0.29)), (1.0, 2.0, with_test(0.1)))
    line = evidence(result, [DIAL], noun="test error", metric="test.mse")
    assert line.startswith(
        "O(3) holds in this data: 0.3 hard (s = 0) is within 5 % of the best, s = 0.3, test error 0.29"
    )
    with pytest.raises(TuningError, match=r"recorded are: test\.mse"):
        evidence(result, [DIAL], metric="test.mae")


def test_no_evidence_without_trials():
    assert evidence(dial(), [DIAL]) == "no evidence: no trial was run"
    assert evidence(dial((0.0, None), (1.0, None)), [DIAL]) == "no evidence: none of 2 trials completed"


def test_a_search_without_constraints_is_compared_with_the_defaults():
    entries = [({RATE: 0.01}, 0.5), ({RATE: 0.003}, 0.2)]
    assert evidence(table(*entries), [SPEED]) == (
        "best: train.learning_rate = 0.003, validation error 0.2 against 0.5 with the defaults" + ONE_RUN
    )
    assert "the defaults were not measured" in evidence(table(entries[1]), [SPEED])
    assert evidence(table(entries[0]), [SPEED]).endswith("these are the defaults")
    assert "which is as good" in evidence(table(entries[0], ({RATE: 0.003}, 0.49)), [SPEED])


@settings(max_examples=150, deadline=None)
@given(
    measured=st.dictionaries(
        st.sampled_from([0.0, 0.01, 0.3, 1.0]),
        st.none() | st.lists(st.floats(-10, 10), min_size=1, max_size=3),
        max_size=4,
    ),
    direction=st.sampled_from(["minimize", "maximize"]),
)
def test_the_line_claims_no_more_than_was_measured(measured, direction):
    """Brute force over the same table: what is called broken is clearly better than hard, and so on."""
    entries = []
    for s, values in measured.items():
        if values is None:
            entries.append((s, None, {"reason": "diverged"}))
        else:
            entries += [(s, value, {"repeat": k}) for k, value in enumerate(values)]
    result = dial(*entries, direction=direction)
    line = evidence(result, [DIAL])
    assert "\n" not in line
    assert "nan" not in line
    hard = measured.get(0.0)
    best = result.best
    if best is None:
        assert line.startswith("no evidence")
    elif hard is None:
        assert "broken" not in line
        assert "holds" not in line
        assert "hard (s = 0)" in line
    else:
        assert ("broken" in line) + ("holds" in line) + ("undecided" in line) == 1
        sign = 1 if direction == "minimize" else -1
        mean = next(point.mean for point in points(result.rows) if point.values[S] == 0.0)
        if "broken" in line:
            assert sign * best.mean < sign * mean
        if "undecided" in line:  # hard is all that has completed
            assert best.values[S] == 0.0
            assert all(values is None for s, values in measured.items() if s > 0)
    assert ("one run each" in line) == (
        best is not None and all(len(point.samples) == 1 for point in points(result.rows))
    )


# --- points


def test_points_gather_repetitions_and_leave_the_chosen_run_out():
    result = repeated((0.3, [0.1, 0.3, 0.5]), (0.0, [0.2]))
    chosen, single = points(result.rows)
    assert chosen.samples == (0.3, 0.5)
    assert chosen.mean == pytest.approx(0.4)
    assert chosen.spread == pytest.approx(0.02**0.5)
    assert chosen.numbers == (1, 2)
    assert single.spread is None
    assert best_point([chosen, single], "minimize") is chosen  # one lucky run does not beat a mean
    assert result.best_row.number == 0  # the model to keep is still the best one at that point


def test_the_same_trial_twice_is_one_sample():
    (point,) = points(dial((0.3, 1.0), (0.3, 3.0)).rows)
    assert point.samples == (2.0,)
    assert point.numbers == (0, 1)


def test_strictness_of_modes():
    assert strictness({"hard": {"within": 1e-6}}) == 0.0
    assert strictness({"relaxed": {"strength": 0.2, "by": "residual"}}) == 0.2
    assert strictness(True) is None
    assert strictness(2.0) is None
    assert place({"soft": 0.1}) == "{soft: 0.1}"
    assert with_strictness(0.3, (), 0.0) == 0.0
    assert with_strictness("hard", MODE.choices, 1.0) == "free"
    assert with_strictness("hard", ("hard", "augmented"), 1.0) is None


# --- the table


def rendered(result, width=100, **options):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(render_tuning(result, **options))
    return console.export_text()


def test_the_table_is_sorted_marks_the_best_and_fits_100_columns():
    mode = MODE.name
    values = itertools.cycle([{S: 0.3, mode: {"relaxed": 0.1}, RATE: 0.00123456, "model.channels": 128}])
    metrics = {"test.energy.rmse": 0.123456, "test.forces.rmse": 12.3456, "equivariance.O(3)": 1.2e-7}
    more = {"metrics": metrics, "seconds": 754.0}
    entries = [(next(values) | {RATE: 0.001 * k}, 1.0 + abs(k - 3), more) for k in range(1, 6)]
    entries.append((next(values), None, {"reason": "the loss is nan after a very long sentence about it"}))
    entries.append((next(values), None, {"state": "lost"}))
    result = table(*entries, importance={RATE: 0.75, S: 0.25}, stopped="time", wanted=12, notes=("mended",))
    text = rendered(result, noun="energy RMSE")
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= 100
    starred = [line for line in lines if "★" in line]
    assert len(starred) == 1
    assert "0.003" in starred[0]
    assert lines.index(starred[0]) < min(k for k, line in enumerate(lines) if "0.002" in line)
    assert lines[0].startswith("inertia: 6 of 12 trials, 1 failed")
    assert "importance for the best tenth (PED-ANOVA): learning_rate 75 %, O(3) 25 %" in text
    assert "the time was over; the same command continues this search" in text
    assert "mended" in text
    assert "trial 5 failed: the loss is nan after a very long sentence about it" in text
    assert "sampler: TPESampler" in text
    assert "lost" not in text


def test_long_tables_are_cut_and_say_so():
    text = rendered(dial(*[(0.01 * k, 1.0 + k) for k in range(1, 30)]), limit=10)
    assert "… and 19 more" in text
    assert text.count("│") == 6 * 10


def test_the_metrics_that_tell_most_are_shown():
    names = [
        "train.energy.rmse",
        "validation.energy.rmse",
        "test.energy.mae",
        "test.energy.rmse",
        "test.forces.mae",
    ]
    assert telling_metrics(names, "validation.energy.rmse") == [
        "test.energy.rmse", "test.energy.mae", "test.forces.mae",
    ]  # fmt: skip
    assert telling_metrics(["equivariance.O(3)", *names[:2]], "validation.energy.rmse") == [
        "equivariance.O(3)"
    ]
    rows = [({S: 0.3}, 0.154213, {"metrics": dict.fromkeys(names, 0.0874321), "seconds": 17.2})]
    text = rendered(table(*rows), noun="validation.energy.rmse", width=80)
    assert "0.08743" in text
    assert "…" not in text


def test_names_and_durations():
    assert short_names(["a.x", "b.x", "b.y"]) == {"a.x": "a.x", "b.x": "b.x", "b.y": "y"}
    assert (
        short_names([S, "constraints.hamiltonian.relaxed"])["constraints.hamiltonian.relaxed"]
        == "hamiltonian"
    )
    assert [duration(s) for s in (0.5, 42, 754, 9000)] == ["0.5 s", "42 s", "12:34", "2:30 h"]
