"""Accuracy in equal time: forces of acetylacetone after 5, 15 and 45 minutes of two cores, ours, mace-torch and nequip.

All are given the same 450 + 50 frames at 300 K and tested on the 650 of the test set. Time is the processor's: 5
minutes of two cores are 600 seconds of one, because other work shares the machine's cores and small models train as
fast on one. Every program has one thread. Ours is counted from behind the imports to the artifact, kernels included;
the peers from the first step on, without preparing model and data. trainings.py says how each is run.

Ours is one run for each budget, and its schedule ends with it. mace-torch's first stage is run once, its second for
each budget; nequip's settings know no budget. The data is not part of this repository: see acac.py. Trainings lie in
--runs, and those that are done are not done again.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from common import ROOT, Measurement, Row, parser, run, spread_of
from trainings import Frames, Outcome, end_of_stage_one, equic, lines, mace, nequip, write_frames

SPEC = Path(__file__).with_name("equal_time.yaml")
CORES = 2
MINUTES = (5.0, 15.0)  # of two cores
LONG_MINUTES, LONG_FLOOR = 45.0, 10.0  # ours alone, meV/Å
LONG_RATE = 0.01  # the longer a run, the smaller the steps that it has time for
QUICK_MINUTES = (0.25,)
SEEDS = (1, 2, 3)
THREADS, DTYPE = 1, "float32"
COLOURS = {"equic": "#0b63b5", "mace-torch": "#d2560b", "nequip": "#5a6778"}


def name_of(program: str, minutes: float) -> str:
    """The name of a row."""
    return f"forces RMSE, 300 K, {program}, {minutes:g} minutes of {CORES} cores"


def time_name(program: str, minutes: float) -> str:
    """The name of the row with what was spent."""
    return f"processor time, {program}, {minutes:g} minutes of {CORES} cores"


def seconds_of(minutes: float) -> float:
    """The budget in seconds of one core."""
    return 60.0 * CORES * minutes


def version_of(python: Path, package: str) -> str:
    """Of a package in another environment."""
    code = f"import importlib.metadata as m; print(m.version('{package}'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def peer_row(program: str, minutes: float, outcome: Outcome) -> Row:
    """What a peer reaches."""
    return Row(name_of(program, minutes), outcome.forces, "meV/Å", "lower", threads=THREADS, dtype=DTYPE)


def own_rows(
    minutes: float, outcomes: Sequence[Outcome], peers: Mapping[str, tuple[Outcome, str]]
) -> list[Row]:
    """Ours, the mean of the seeds, alone and against each peer, given with its version."""
    mean = statistics.mean(outcome.forces for outcome in outcomes)
    own = partial(
        Row,
        value=mean,
        unit="meV/Å",
        better="lower",
        seeds=len(outcomes),
        spread=spread_of([outcome.forces for outcome in outcomes]),
        threads=THREADS,
        dtype=DTYPE,
    )
    found = [own(name_of("equic", minutes), floor=LONG_FLOOR if minutes == LONG_MINUTES else None)]
    for program, (theirs, version) in peers.items():
        found.append(
            own(
                f"{name_of('equic', minutes)}, against {program}",
                reference=theirs.forces,
                source=f"{program} {version}, with the same frames and processor time",
                ratio=theirs.forces / mean,
                floor=1.0,
            )
        )
    return found


def time_row(program: str, minutes: float, outcome: Outcome) -> Row:
    """What was spent of a budget."""
    return Row(
        time_name(program, minutes),
        outcome.seconds,
        "s",
        "lower",
        threads=THREADS,
        dtype=DTYPE,
    )


class Field:
    """The trainings of one call of the benchmark: what is asked for once is kept."""

    def __init__(self, given: argparse.Namespace, data: Path, runs: Path) -> None:
        from equic.api import plan

        self.given, self.runs = given, runs
        self.minutes = QUICK_MINUTES if given.quick else MINUTES
        self.seeds = SEEDS[:1] if given.quick else SEEDS[: given.seeds]
        self.overrides = [f"data.train.path={data / 'train_300K.xyz'}"]
        made, _ = plan(SPEC, [*self.overrides, f"data.test.path={data / 'test_MD_300K.xyz'}"])
        self.frames: Frames = write_frames(made, runs / "frames")
        self.pythons = {"mace-torch": given.mace, "nequip": given.nequip}
        self.peers = [program for program, python in self.pythons.items() if python is not None]

    def peer(self, program: str, minutes: float) -> Outcome:
        """One of the others, after so many minutes of two cores."""
        budgets = [seconds_of(one) for one in self.minutes]
        python = self.pythons[program]
        if program == "mace-torch":
            return mace(python, self.frames, self.runs, seconds_of(minutes), budgets[-1])
        return nequip(python, self.frames, self.runs, seconds_of(minutes), budgets)

    def version(self, program: str) -> str:
        """Of one of the others."""
        return version_of(self.pythons[program], program)

    def own(self, minutes: float, seed: int) -> Outcome:
        """Ours."""
        more = [f"train.learning_rate={LONG_RATE}"] if minutes == LONG_MINUTES else []
        overrides = [*self.overrides, *more]
        return equic(SPEC, overrides, self.frames, self.runs, seconds_of(minutes), seed)

    def rows_of_peer(self, program: str, minutes: float) -> Sequence[Row]:
        outcome = self.peer(program, minutes)
        return [peer_row(program, minutes, outcome), time_row(program, minutes, outcome)]

    def rows_of_ours(self, minutes: float, seeds: Sequence[int]) -> Sequence[Row]:
        outcomes = [self.own(minutes, seed) for seed in seeds]
        compared = [] if minutes == LONG_MINUTES else self.peers
        peers = {name: (self.peer(name, minutes), self.version(name)) for name in compared}
        return [*own_rows(minutes, outcomes, peers), time_row("equic", minutes, outcomes[0])]

    def measurements(self) -> list[Measurement]:
        """Shortest first, so that a benchmark that is stopped early has compared something."""
        made = []
        for minutes in self.minutes:
            for program in self.peers:
                keys = [
                    name_of(program, minutes),
                    time_name(program, minutes),
                ]
                made.append(_measurement(keys, partial(self.rows_of_peer, program, minutes)))
            made.append(self._own_measurement(minutes, self.seeds, self.peers))
        if self.given.long and not self.given.quick:
            made.append(self._own_measurement(LONG_MINUTES, self.seeds[:1], []))
        return made

    def _own_measurement(self, minutes: float, seeds: Sequence[int], peers: Sequence[str]) -> Measurement:
        own = name_of("equic", minutes)
        keys = [own, *(f"{own}, against {program}" for program in peers)]
        keys.append(time_name("equic", minutes))
        return _measurement(keys, partial(self.rows_of_ours, minutes, seeds))


def _measurement(names: Sequence[str], measure: partial[Sequence[Row]]) -> Measurement:
    return Measurement(tuple((name, THREADS, DTYPE) for name in names), measure)


def curves(runs: Path, program: str, budgets: Sequence[float]) -> Iterator[list[tuple[float, float]]]:
    """Of every run that is there: (minutes of one core, validation error)."""
    starts = {f"equic-{SEEDS[0]}-{budget:g}": 0.0 for budget in budgets} if program == "equic" else {}
    if program == "nequip":
        starts = {"nequip": 0.0}
    if program == "mace-torch" and (runs / "mace" / "clock.jsonl").exists():
        starts = {f"mace-{budget:g}": end_of_stage_one(runs, budget)["seconds"] for budget in budgets}
        starts["mace"] = 0.0
    for name, start in starts.items():
        if (runs / name / "clock.jsonl").exists():
            yield [((start + line["seconds"]) / 60, line["validation"]) for line in lines(runs / name)]


def draw(field: Field, rows: Sequence[Row], path: Path) -> None:
    """Validation errors along the runs against processor time, and the errors on the test frames at the budgets."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    found = {row.name: row.value for row in rows}
    every = (*field.minutes, LONG_MINUTES)
    minutes = [one for one in every if any(name_of(program, one) in found for program in COLOURS)]
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "equic", "font.size": 10}):
        figure = Figure(figsize=(7.4, 4.2), layout="constrained")
        axes = figure.subplots()
        for program, colour in COLOURS.items():
            for curve in curves(field.runs, program, [seconds_of(one) for one in minutes]):
                axes.plot(*zip(*curve, strict=True), color=colour, linewidth=1.1, alpha=0.6)
            at = [one for one in minutes if name_of(program, one) in found]
            axes.plot(
                [CORES * one for one in at],
                [found[name_of(program, one)] for one in at],
                "o",
                color=colour,
                markersize=7,
                label=program,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks([0.1, 0.3, 1, 3, 10, 30, 90], minor=False)
        axes.set_yticks([5, 10, 20, 50, 100, 200], minor=False)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlim(0.08, 1.3 * CORES * max(minutes))
        axes.set_xlabel("minutes of one core (processor time)")
        axes.set_ylabel("forces RMSE (meV/Å)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, which="both", color="#e4e8ee", linewidth=0.7)
        axes.legend(frameon=False, fontsize=8.5)
        figure.suptitle(
            "Acetylacetone, 300 K: forces of the test frames (dots), of the validation frames (lines)",
            x=0.01,
            ha="left",
            fontsize=11,
        )
        figure.savefig(path, metadata={"Date": None, "Creator": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, metavar="DIR", help="the folder of acac.py ($EQUIC_DATA/acac)")
    options.add_argument("--runs", type=Path, metavar="DIR", help="where the trainings lie")
    options.add_argument(
        "--mace", type=Path, metavar="PYTHON", help="Python with mace-torch; not run if not given"
    )
    options.add_argument(
        "--nequip", type=Path, metavar="PYTHON", help="Python with nequip; not run if not given"
    )
    options.add_argument(
        "--seeds", type=int, default=len(SEEDS), choices=range(1, len(SEEDS) + 1), help="of ours"
    )
    options.add_argument("--long", action="store_true", help=f"ours for {LONG_MINUTES:g} minutes, too")
    given = options.parse_args(arguments)
    folder = (given.data or Path(os.environ.get("EQUIC_DATA", "data")) / "acac").resolve()
    if not (folder / "train_300K.xyz").is_file():
        raise SystemExit(
            f"there is no {folder / 'train_300K.xyz'}; give its folder by --data, or set EQUIC_DATA"
        )
    runs = given.runs or ROOT / "runs" / ("equal-time-quick" if given.quick else "equal-time")
    field = Field(given, folder, runs.resolve())
    result = run("equal_time", field.measurements(), given)
    if given.json:
        draw(field, [Row.from_json(row) for row in result["rows"]], given.json.with_suffix(".svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
