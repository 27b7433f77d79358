"""Fuzzing of the compiler: every damaged spec gives a plan or diagnostics, never a traceback, and soon.

Each mutant (`mutate.py`) is compiled in this process. One that compiles must give a plan that is plain JSON
and that the runtime reads; one that does not must give errors with places that render. Mutants that break these
rules are printed, and kept in a folder with `--keep`. The limit of two seconds, the slowest mutant and the mutants
per second count processor time, whatever else the machine does.
"""

import gc
import json
import resource
import signal
import statistics
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

from common import Measurement, Row, parser, run
from mutate import Mutator

LIMIT = 2.0  # seconds of the processor for one mutant
HANGS = 30.0  # seconds of the clock, for one that waits
NAMES = ("mutants", "failures", "mutants over 2 s of the processor", "slowest mutant, of the processor",
         "median mutant, of the clock", "mutants per second of the processor", "share that compiles",
         "codes of diagnostics seen", "memory gained")  # fmt: skip


class TooSlowError(BaseException):
    """Raised by the clock in a mutant that takes too long; not an `Exception`, so that nothing catches it."""


@dataclass(slots=True)
class Tally:
    """What became of the mutants."""

    seconds: list[float] = field(default_factory=list)  # of the processor, which may count in steps of 10 ms
    elapsed: list[float] = field(default_factory=list)  # of the clock, which other work slows down
    compiled: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)  # (what, seed, text)
    memory: float = 0.0  # MiB gained after the first tenth


def check_text(text: str) -> tuple[bool, list[str]]:
    """Compile a text as `equic check` does: whether it gave a plan, and the codes of its diagnostics.

    Raises AssertionError where neither a plan nor a proper diagnostic comes out, or whatever the compiler
    raises by mistake.
    """
    from equic.compiler.language.diagnostics import Report
    from equic.compiler.language.fixes import apply_fixes
    from equic.compiler.language.render import render_concise, render_full, render_json
    from equic.compiler.language.source import source_from_text
    from equic.compiler.pipeline import compile_spec
    from equic.compiler.summary import summarize
    from equic.runtime.plan import Plan

    report = Report()
    source = source_from_text(text, report=report, directory=Path(__file__).parent)
    done = None if source is None else compile_spec(source, report, debug=True)
    for diagnostic in report.diagnostics:
        assert diagnostic.span is not None, f"no place: {diagnostic.message}"
        assert diagnostic.span.file in report.texts, f"no text for {diagnostic.span}"
        assert diagnostic.message.strip(), f"no message for {diagnostic.code}"
        assert "\n" not in diagnostic.message, f"a message of two lines: {diagnostic.message}"
        assert len(diagnostic.message) < 400, f"a long message: {diagnostic.message}"
        assert render_full(diagnostic, report.texts)
        assert render_concise(diagnostic)
        if diagnostic.fix is not None:
            file = diagnostic.fix.edits[0].span.file
            changed, made = apply_fixes(report.texts[file], [diagnostic.fix])
            assert made, f"a fix that lies outside of the text: {diagnostic.message}"
            assert changed != report.texts[file], f"a fix that changes nothing: {diagnostic.message}"
    json.dumps(render_json(report))
    if done is not None and done.ok:
        assert done.plan is not None
        assert done.graph is not None
        again = json.loads(json.dumps(done.plan, allow_nan=False))
        plan = Plan.from_json(again)
        assert plan.to_json() == again, "the plan changes when it is read"
        summarize(done)
        return True, [str(one.code) for one in report.diagnostics]
    assert report.has_errors, "neither a plan nor an error"
    return False, [str(one.code) for one in report.diagnostics]


def fuzz(count: int, seed: int, tally: Tally | None = None) -> Tally:
    """Compile `count` mutants and say what became of them."""
    tally = Tally() if tally is None else tally
    mutator = Mutator(seed)
    before = {number: signal.signal(number, _ring) for number in (signal.SIGALRM, signal.SIGPROF)}
    start = _memory()
    try:
        for k in range(count):
            name, text = mutator.mutate()
            if k == count // 10:
                gc.collect()
                start = _memory()
            began, clock = time.process_time(), time.perf_counter()
            signal.setitimer(signal.ITIMER_PROF, LIMIT)
            signal.setitimer(signal.ITIMER_REAL, HANGS)
            try:
                compiled, codes = check_text(text)
                tally.compiled += compiled
                tally.codes.update(codes)
            except TooSlowError:
                where = traceback.format_exc().strip().splitlines()[-3]
                tally.failures.append((f"over {LIMIT:g} s in {where.strip()}", name, text))
            except Exception as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                what = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
                tally.failures.append((what, name, text))
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                signal.setitimer(signal.ITIMER_REAL, 0)
            tally.elapsed.append(time.perf_counter() - clock)
            tally.seconds.append(time.process_time() - began)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    gc.collect()
    tally.memory = max(0.0, _memory() - start)
    return tally


def _ring(number: int, frame: FrameType | None) -> None:
    raise TooSlowError


def _memory() -> float:
    """Resident memory now, in MiB (its peak where /proc does not exist)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def draw(path: Path, tally: Tally) -> None:
    """How long mutants take, and which diagnostics they get, as a picture."""
    import matplotlib
    import numpy as np
    from matplotlib.figure import Figure

    stages = {
        "S": "source",
        "L": "language",
        "T": "types",
        "U": "units",
        "P": "physics",
        "D": "data",
        "R": "search",
    }
    counts = [sum(count for code, count in tally.codes.items() if code[0] == letter) for letter in stages]
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "equic", "font.size": 10}):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.hist(1e3 * np.maximum(tally.elapsed, 1e-5), bins=np.geomspace(1e-2, 4e3, 60), color="#4477aa")
        left.axvline(1e3 * LIMIT, color="#cc3311")
        left.text(1e3 * LIMIT, left.get_ylim()[1] / 2, "limit ", ha="right", color="#cc3311")
        left.set(xscale="log", yscale="log", xlabel="ms", ylabel="mutants")
        left.set_title(f"{len(tally.elapsed):,} damaged specs, {len(tally.failures)} failures", fontsize=10)
        right.barh(
            [*stages.values(), "compiled"], [*counts, tally.compiled], color=["#4477aa"] * 7 + ["#228833"]
        )
        right.set(xscale="log", xlabel="times")
        right.set_title(f"{len(tally.codes)} codes of diagnostics", fontsize=10)
        right.invert_yaxis()
        figure.savefig(path, metadata={"Date": None})


def measure(count: int, seed: int, keep: Path | None, picture: Path | None) -> Sequence[Row]:
    """All rows of a run over `count` mutants."""
    tally = fuzz(count, seed)
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw(picture, tally)
    for what, name, text in tally.failures:
        print(f"FAILED ({name}) {what}", file=sys.stderr)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{len(list(keep.iterdir())):05d}.yaml").write_text(
                f"{text}\n# {what!r}\n", encoding="utf-8"
            )
    slow = sum(one > LIMIT for one in tally.seconds)
    values = (
        (float(count), "1", "higher", None),
        (float(len(tally.failures)), "1", "lower", 0.0),
        (float(slow), "1", "lower", 0.0),
        (1e3 * max(tally.seconds), "ms", "lower", 1e3 * LIMIT),
        (1e3 * statistics.median(tally.elapsed), "ms", "lower", None),
        (count / sum(tally.seconds), "1/s", "higher", None),
        (tally.compiled / count, "1", "higher", None),
        (float(len(tally.codes)), "1", "higher", None),
        (tally.memory, "MiB", "lower", 20.0),
    )
    return [
        Row(name, value, unit, better, floor=floor, threads=1)  # type: ignore[arg-type]
        for name, (value, unit, better, floor) in zip(NAMES, values, strict=True)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 where a floor does not hold."""
    made = parser((__doc__ or "").splitlines()[0])
    made.add_argument("--count", type=int, metavar="N", help="mutants (100,000; with --quick 5,000)")
    made.add_argument("--seed", type=int, default=0, help="of the generator of mutants")
    made.add_argument("--keep", type=Path, metavar="FOLDER", help="write mutants that fail here")
    options = made.parse_args(arguments)
    count = options.count or (5_000 if options.quick else 100_000)
    keys = tuple((name, 1, None) for name in NAMES)
    picture = options.json.with_suffix(".svg") if options.json is not None else None
    work = Measurement(keys, partial(measure, count, options.seed, options.keep, picture))
    result = run("fuzz_specs", [work], options)
    return int(any(row["holds"] is False for row in result["rows"]))


if __name__ == "__main__":
    sys.exit(main())
