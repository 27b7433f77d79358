"""What every benchmark shares: the command line, honest timing, and one JSON format.

A benchmark is a script `python benchmarks/NAME.py [--quick] [--json FILE]` that yields rows. Rows are written
as they come, so that a run that was stopped goes on where it was (same commit, machine and versions).
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("equic", "torch", "numpy", "ase", "vesin")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    `reference` is the peer's or published value and `source` says which; `ratio` how many times better than
    it we are; `floor` is what must hold and `aim` what we want, both for the ratio where there is a
    reference, else for the value. `spread` is half the distance between the quartiles, in the unit of the
    value.
    """

    name: str
    value: float
    unit: str
    better: Literal["lower", "higher"]
    reference: float | None = None
    source: str | None = None
    ratio: float | None = None
    floor: float | None = None
    aim: float | None = None
    seeds: int = 1
    spread: float | None = None
    threads: int | None = None
    dtype: str | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the figure keeps its floor; None without one."""
        if self.floor is None:
            return None
        if self.reference is not None:
            return self.ratio is not None and self.ratio >= self.floor
        return self.value <= self.floor if self.better == "lower" else self.value >= self.floor

    @property
    def key(self) -> tuple[str, int | None, str | None]:
        """What tells two rows of one benchmark apart."""
        return self.name, self.threads, self.dtype

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return {**asdict(self), "holds": self.holds}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Row":
        """The row whose `to_json` this is."""
        return cls(**{key: value for key, value in data.items() if key != "holds"})


@dataclass(frozen=True, slots=True)
class Measurement:
    """A group of rows that is measured together: their keys, and the function that measures them."""

    keys: tuple[tuple[str, int | None, str | None], ...]
    measure: Callable[[], Sequence[Row]]


def parser(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="a part of the rows, under 2 minutes on 2 cores")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the result here, and resume from it")
    made.add_argument("--fresh", action="store_true", help="measure again what FILE already holds")
    made.add_argument("--only", default="", metavar="TEXT", help="only rows whose name contains TEXT")
    made.add_argument("--repeats", type=int, metavar="N", help="timed calls for each row")
    return made


def run(name: str, measurements: Iterable[Measurement], options: argparse.Namespace) -> dict[str, Any]:
    """Measure what is wanted and not known yet, print the rows, and write the result after every group.

    With `only` the rows of the file that are not wanted now stay, so that a run can be done in pieces.
    """
    result = header(name, options.quick)
    known: dict[tuple[str, int | None, str | None], Row] = {}
    if options.json and not options.fresh:
        known = {row.key: row for row in _earlier(options.json, result)}
    rows: list[Row] = []
    found = False
    for measurement in measurements:
        wanted = [key for key in measurement.keys if options.only in key[0]]
        if not wanted:
            rows += [known[key] for key in measurement.keys if key in known]
            continue
        found = True
        if all(key in known for key in wanted):
            new = [known[key] for key in wanted]
        else:
            new = [row for row in measurement.measure() if row.key in wanted]
        # what belongs to the same group and is not wanted now stays too
        rows += new + [known[key] for key in measurement.keys if key in known and key not in wanted]
        for row in new:
            print(_line(row), flush=True)
        result["rows"] = [row.to_json() for row in rows]
        if options.json:
            _write(options.json, result)
    if not found:
        raise SystemExit(f"no row's name contains `{options.only}`")
    result["rows"] = [row.to_json() for row in rows]
    if options.json:
        _write(options.json, result)
    return result


def header(name: str, quick: bool) -> dict[str, Any]:
    """The result of a benchmark before any row."""
    return {
        "benchmark": name,
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "hardware": hardware(),
        "versions": versions(),
        "rows": [],
    }


def interleaved(
    steps: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each call, the steps taken in turn: what slows the machine for a while slows all of them."""
    for _ in range(warmup):
        for step in steps.values():
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            began = clock()
            step()
            seconds[name].append(clock() - began)
    return seconds


def spread_of(samples: Sequence[float]) -> float | None:
    """Half the distance between the quartiles; None for fewer than three samples."""
    if len(samples) < 3:
        return None
    low, _, high = statistics.quantiles(samples, n=4)
    return (high - low) / 2


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float | None]:
    """How many times faster we are: the median of the ratios of neighbouring calls, and their spread."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), spread_of(ratios)


def cores() -> int:
    """The CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def hardware() -> dict[str, Any]:
    """The machine: CPU, cores, GPU, memory."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": _cpu(), "cores": cores(), "gpu": gpu, "memory": _memory()}


def versions() -> dict[str, str]:
    """Python and the packages that decide a figure."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def commit() -> str | None:
    """The commit of this checkout, with `+` where files differ from it; None outside of git."""
    head = _git("rev-parse", "HEAD")
    if head is None:
        return None
    return head + "+" if _git("status", "--porcelain", "--untracked-files=no") else head


def _earlier(path: Path, now: Mapping[str, Any]) -> list[Row]:
    """The rows of an earlier run that this one may go on from: same code, machine and versions."""
    if not path.exists():
        return []
    before = json.loads(path.read_text(encoding="utf-8"))
    same = all(
        before.get(key) == now[key] for key in ("benchmark", "commit", "quick", "hardware", "versions")
    )
    clean = now["commit"] is not None and not now["commit"].endswith("+")
    return [Row.from_json(row) for row in before["rows"]] if same and clean else []


def _write(path: Path, result: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(
        json.dumps(result, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )
    part.replace(path)


def _line(row: Row) -> str:
    threads = None if row.threads is None else f"{row.threads} thread{'s' * (row.threads > 1)}"
    where = ", ".join(part for part in (row.dtype, threads) if part)
    text = f"{row.name}{f' ({where})' if where else ''}: {row.value:.4g} {row.unit}"
    if row.spread is not None:
        text += f" ± {row.spread:.2g}"
    if row.ratio is not None:
        text += f", {row.ratio:.3g} times {row.source}"
    return text if row.holds is None else f"{text}, floor {'holds' if row.holds else 'BROKEN'}"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> str | None:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
    return f"{size / 2**30:.1f} GiB"
