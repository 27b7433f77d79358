"""What the benchmarks against other programs share: their processes, turns, a check of the answers, a picture.

Both programs run in one call, in turn: ours here, the other in a process of its own environment (`make oracles`),
each timed in its own process. What slows the machine for a while slows both.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from common import Row, paired_ratio, spread_of

# first calls of models that are scripted or compiled are measured by torch
WARMUP = 6
REST = 0.02  # seconds
# seconds for each group of a case, beside three rounds that are always taken
BUDGET = 40.0

Step = Callable[[], float]
Name = TypeVar("Name")


def present(python: Path) -> Path:
    """The Python of a peer's environment.

    Raises:
        SystemExit: there is none.
    """
    if not python.exists():
        raise SystemExit(
            f"{python} does not exist; `make oracles` makes it (`make symmetrix` that of symmetrix), "
            "and an option names another"
        )
    return python


class Peer:
    """Another program in its own process, asked in JSON lines (`peers/serving.py`)."""

    def __init__(self, python: Path, worker: Path, environment: Mapping[str, str] | None = None) -> None:
        self.python, self.worker = present(python), worker
        self.environment = {**os.environ, **(environment or {})}

    def __enter__(self) -> "Peer":
        self.process = subprocess.Popen(
            [self.python, "-W", "ignore", self.worker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.environment,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        # waits, and closes the pipes
        self.process.communicate()

    def ask(self, **command: Any) -> Any:
        """One command, and its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(command), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(
                f"{self.python} {self.worker} ended with {self.process.wait()}; run it to see why"
            )
        return json.loads(answer)

    def build(
        self,
        frames: Sequence[Any],
        weights: Path,
        by_energy: np.ndarray,
        by_forces: np.ndarray,
        **more: Any,
    ) -> Any:
        """What it answers to a model, whose weights it writes, on a batch with the derivatives of a loss."""
        return self.ask(
            do="build",
            weights=str(weights),
            structures=packed(frames),
            by_energy=by_energy.tolist(),
            by_forces=by_forces.tolist(),
            **more,
        )

    def step(self, name: str) -> Step:
        """A step of its own, in the seconds that it measured."""
        return lambda: float(self.ask(do="step", name=name)["seconds"])

    def version(self, package: str) -> str:
        """Of a package in its environment."""
        code = f"import importlib.metadata as m; print(m.version({package!r}))"
        return subprocess.run(
            [self.python, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()


def clock_of(threads: int) -> Callable[[], float]:
    """Processor time for one thread, which other programs on the machine do not add to; else time by the clock."""
    return time.process_time if threads == 1 else time.perf_counter


def timed(step: Callable[[], object], threads: int) -> Step:
    """A step of ours, in seconds."""
    clock = clock_of(threads)

    def taken() -> float:
        began = clock()
        step()
        return clock() - began

    return taken


def in_turn(
    pairs: Mapping[Name, tuple[Step, Step]], repeats: int, *, threads: int, budget: float = BUDGET
) -> dict[Name, tuple[list[float], list[float]]]:
    """Seconds of ours and of the other's step of each pair, ours first in every other round.

    With several threads a turn begins with a rest, and with a step that is not counted: threads wait for their next
    work awake, for some milliseconds, and would take the processor from the program whose turn it is.
    """
    seconds: dict[Name, tuple[list[float], list[float]]] = {name: ([], []) for name in pairs}
    began = time.monotonic()
    for number in range(repeats + WARMUP):
        late = time.monotonic() - began > budget
        if late and all(len(taken) >= 3 for taken, _ in seconds.values()):
            break
        for name, pair in pairs.items():
            for which in (0, 1) if number % 2 else (1, 0):
                if threads > 1:
                    time.sleep(REST)
                    pair[which]()
                taken = pair[which]()
                # a peer that takes seconds for a step has warmed up sooner
                if number >= (2 if late else WARMUP):
                    seconds[name][which].append(taken)
    return seconds


def row_of(
    name: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    source: str,
    bars: tuple[float | None, float | None],
    *,
    threads: int,
    dtype: str,
) -> Row:
    """The row of a pair; `bars` are how many times faster we must be, and want to be."""
    spread = spread_of(ours)
    return Row(
        name=name,
        value=1e3 * statistics.median(ours),
        unit="ms",
        better="lower",
        reference=1e3 * statistics.median(theirs),
        source=source,
        ratio=paired_ratio(ours, theirs)[0],
        floor=bars[0],
        aim=bars[1],
        spread=None if spread is None else 1e3 * spread,
        threads=threads,
        dtype=dtype,
    )


def packed(frames: Sequence[Any]) -> list[dict[str, Any]]:
    """Structures as plain data."""
    return [
        {
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.tolist(),
            "pbc": atoms.pbc.tolist(),
        }
        for atoms in frames
    ]


def spec_of(sections: Mapping[str, Any]) -> str:
    """Our spec of a peer's model, with energy and forces, from the sections `system` and `model` of its spec."""
    import yaml

    targets = {
        "energy": {"per": "system", "rep": "0e", "unit": "eV"},
        "forces": {"gradient_of": "energy", "wrt": "positions", "scale": -1},
    }
    spec = {"equic": 1, "name": "peer", "symmetry": {"O(3)": "hard"}, "targets": targets}
    return str(yaml.safe_dump(spec | sections, allow_unicode=True))


def plan_of(sections: Mapping[str, Any]) -> Any:
    """The plan of such a spec."""
    from equic.compiler.language.diagnostics import Report
    from equic.compiler.language.source import source_from_text
    from equic.compiler.pipeline import compile_spec
    from equic.runtime.plan import Plan

    report = Report()
    done = compile_spec(source_from_text(spec_of(sections), report=report), report)
    report.raise_if_errors()
    assert done.plan is not None
    return Plan.from_json(done.plan)


def without_atoms(outputs: Mapping[str, Any], model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs, their energies without those of the isolated atoms."""
    import torch

    isolated = model.statistics.atomic_energies[inputs["species"]]
    energy = outputs["energy"]
    return {**outputs, "energy": energy - torch.zeros_like(energy).index_add(0, inputs["system"], isolated)}


def check(outputs: Mapping[str, Any], answer: Mapping[str, Any], bound: float, where: str) -> None:
    """Refuse to time two models that are not the same.

    Args:
        bound: of the largest difference, in the RMS of the forces, and in that of the energies without those of
            the isolated atoms.
        where: how the models were run, for the message.
    """
    for what in ("energy", "forces"):
        theirs = np.array(answer[what])
        error = float(np.abs(outputs[what].numpy() - theirs).max() / np.sqrt((theirs**2).mean()))
        if not error < bound:
            raise SystemExit(f"{what} differ by {error:.1e} of their scale in {where}: nothing is timed")


def draw(path: Path, rows: Sequence[Mapping[str, Any]], against: str) -> None:
    """How many times faster we are, and where floors lie, as a picture.

    A line for each name, on it a point for each dtype (its colour) and number of threads (its shape).
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(row["name"] for row in rows))
    floors = {row["name"]: row["floor"] for row in rows if row["floor"] is not None}
    kinds = sorted({(row["threads"], row["dtype"]) for row in rows})
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "equic", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.24 * len(names)), layout="constrained")
        axes.plot(list(floors.values()), [names.index(name) for name in floors], "k|", ms=11, label="floor")
        for threads, dtype in kinds:
            own = [row for row in rows if (row["threads"], row["dtype"]) == (threads, dtype)]
            axes.plot(
                [row["ratio"] for row in own],
                [names.index(row["name"]) for row in own],
                "o" if threads == 1 else "s",
                ms=5,
                color="tab:blue" if dtype == "float32" else "tab:orange",
                fillstyle="full" if threads == 1 else "none",
                label=f"{dtype}, {threads} thread{'s' * (threads > 1)}",
            )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(linewidth=0.3)
        axes.set_xlabel(f"ratio of {against} to ours, same weights")
        figure.legend(loc="outside upper right", ncols=len(kinds) + 1, frameon=False)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        pyplot.close(figure)
