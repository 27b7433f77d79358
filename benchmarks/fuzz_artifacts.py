"""Fuzzing of artifacts: every damaged file is refused with a clear error, or is the very model that was written.

A file whose hashes are as they were must load as the same model or be refused with an `ArtifactError`. One that was
edited by somebody who made its hashes good again may be another model, or be refused. No other exception, no
crash of the process, and no wait is allowed.
"""

import math
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

from common import Measurement, Row, parser, run
from damage import Damage
from fuzz_specs import _memory

LIMIT = 10.0  # seconds for one file
NAMES = ("files", "failures", "refused", "loaded as they were", "loaded as another model, resealed", "slowest file",
         "median file", "memory gained")  # fmt: skip


class TooSlowError(BaseException):
    """Raised by the clock in a file that takes too long; not an `Exception`, so that nothing catches it."""


@dataclass(slots=True)
class Tally:
    """What became of the files."""

    seconds: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)  # by kind of damage
    same: int = 0
    other: int = 0
    failures: list[tuple[str, str, bytes]] = field(default_factory=list)  # (what, kind, data)
    memory: float = 0.0  # MiB gained after the first tenth


def sound_files(folder: Path) -> list[Path]:
    """Two small artifacts: a Hamiltonian network, and a potential with a certificate and statistics."""
    from equic.runtime.artifact import save_artifact
    from equic.runtime.build import build_module
    from equic.runtime.testing.plans import hnn_plan, mace_plan

    flow = build_module(hnn_plan(hidden=(4,)), seed=1)
    potential = build_module(mace_plan(channels=2, lmax=1, correlation=2, layers=1, widths=(4,)), seed=1)
    potential.set_statistics({"average_neighbors": 7.5, "atomic_energies": [-13.6, -1029.0, -2042.0]})
    certificate = {"version": 1, "ok": True, "meta": {}, "items": []}
    return [
        save_artifact(folder / "flow.equic", flow, spec_text="equic: 1\n"),
        save_artifact(folder / "potential.equic", potential, spec_text="equic: 1\n", certificate=certificate),
    ]


def fuzz(count: int, seed: int) -> Tally:
    """Load `count` damaged files and say what became of them."""
    import torch
    from equic.runtime.artifact import load_artifact
    from equic.runtime.errors import ArtifactError

    tally, start = Tally(), _memory()
    before = signal.signal(signal.SIGALRM, _ring)
    with tempfile.TemporaryDirectory(prefix="equic-fuzz-") as name:
        folder = Path(name)
        files = sound_files(folder)
        sound = [load_artifact(path) for path in files]
        damage, bad = Damage(files, seed), folder / "bad.equic"
        try:
            for k in range(count):
                damaged = damage.next()
                bad.write_bytes(damaged.data)
                if k == count // 10:
                    start = _memory()
                began = time.perf_counter()
                signal.setitimer(signal.ITIMER_REAL, LIMIT)
                try:
                    found = load_artifact(bad)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    good = [one for one in sound if one.plan == found.plan]
                    ours = good[0].model.state_dict() if good else {}
                    theirs = found.model.state_dict()
                    same = ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)
                    papers = good and (found.certificate, found.spec_text) == (
                        good[0].certificate,
                        good[0].spec_text,
                    )
                    if same and papers:
                        tally.same += 1
                    elif damaged.resealed:
                        tally.other += 1
                    else:
                        tally.failures.append(("loaded as another model", damaged.kind, damaged.data))
                except ArtifactError as error:
                    tally.refused[damaged.kind] += 1
                    if not error.message.strip():
                        tally.failures.append(("refused without a word", damaged.kind, damaged.data))
                except TooSlowError:
                    where = traceback.format_exc().strip().splitlines()[-3].strip()
                    tally.failures.append((f"over {LIMIT:g} s in {where}", damaged.kind, damaged.data))
                except BaseException as error:
                    last = traceback.extract_tb(error.__traceback__)[-1]
                    what = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
                    tally.failures.append((what, damaged.kind, damaged.data))
                    if isinstance(error, KeyboardInterrupt):
                        raise
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                tally.seconds.append(time.perf_counter() - began)
        finally:
            signal.signal(signal.SIGALRM, before)
    tally.memory = max(0.0, _memory() - start)
    return tally


def _ring(number: int, frame: FrameType | None) -> None:
    raise TooSlowError


def measure(count: int, seed: int, keep: Path | None) -> Sequence[Row]:
    """All rows of a run over `count` files."""
    tally = fuzz(count, seed)
    for what, kind, data in tally.failures:
        print(f"FAILED ({kind}) {what}", file=sys.stderr)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{len(list(keep.iterdir())):05d}.equic").write_bytes(data)
    values = (
        (float(count), "1", "higher", None),
        (float(len(tally.failures)), "1", "lower", 0.0),
        (float(tally.refused.total()), "1", "higher", None),
        (float(tally.same), "1", "higher", None),
        (float(tally.other), "1", "higher", None),
        (1e3 * max(tally.seconds, default=math.nan), "ms", "lower", 1e3 * LIMIT),
        (1e3 * statistics.median(tally.seconds), "ms", "lower", None),
        (tally.memory, "MiB", "lower", 50.0),
    )
    return [
        Row(name, value, unit, better, floor=floor, threads=1)  # type: ignore[arg-type]
        for name, (value, unit, better, floor) in zip(NAMES, values, strict=True)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 where a floor does not hold."""
    made = parser((__doc__ or "").splitlines()[0])
    made.add_argument("--count", type=int, metavar="N", help="files (10,000; with --quick 1,000)")
    made.add_argument("--seed", type=int, default=0, help="of the damage")
    made.add_argument("--keep", type=Path, metavar="FOLDER", help="write files that fail here")
    options = made.parse_args(arguments)
    count = options.count or (1_000 if options.quick else 10_000)
    keys = tuple((name, 1, None) for name in NAMES)
    work = Measurement(keys, partial(measure, count, options.seed, options.keep))
    result = run("fuzz_artifacts", [work], options)
    return int(any(row["holds"] is False for row in result["rows"]))


if __name__ == "__main__":
    sys.exit(main())
