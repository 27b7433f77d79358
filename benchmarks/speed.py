"""Speed of our MACE against mace-torch, with the same weights, on the CPU: energy and forces, a training step.

Both run in one call, in turn: ours here, mace-torch in a process of its environment (`make oracles`; another
with --peer), each timed in its own process, neighbours found before. Before anything is timed the answers are
compared. Models: 2 layers, correlation 3, cutoff 5 Å, radial network 64-64-64; `big` has 128x0e+128x1o between the
layers, `small` 64x0e. Systems: acac10, ten acetylacetone molecules of 15 atoms in one batch; si216 and cu256,
rattled crystals; single, one molecule, whose time is latency. `tabulated` is energy and forces with splines in the
place of radial networks (`deploy: {tabulate: {radial: 1e-6}}`), against the peer's exact ones. With one
thread processor time is measured, which other programs on the machine do not add to; with more, time by the
clock. The peer runs as its own training and calculator run it.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from common import ROOT, Measurement, Row, cores, paired_ratio, parser, run, spread_of
from step_time import CUTOFF, structures

WHAT = ("energy+forces", "tabulated", "training step")
# what belongs together in time, and what of the peer each is compared with
GROUPS = (("energy+forces", "tabulated"), ("training step",))
OF_PEER = {"energy+forces": "energy+forces", "tabulated": "energy+forces", "training step": "training step"}
TABLES = 1e-6
WORKER = Path(__file__).parent / "peers/mace_worker.py"
PEER = ROOT / ".venv-mace/bin/python"
SYSTEMS = ("acac10", "si216", "cu256", "single")
# channels and highest degree between the layers; how many times faster we must be and want to be
MODELS = {"big": (128, 1), "small": (64, 0), "tiny": (16, 1)}
BARS = {
    ("big", "energy+forces"): (12.0, 20.0),
    ("small", "energy+forces"): (6.0, 12.0),
    ("big", "tabulated"): (27.0, 50.0),
    ("small", "tabulated"): (27.0, 50.0),
    ("big", "training step"): (4.0, 10.0),
    ("small", "training step"): (4.0, 10.0),
}
# the peer's scripted products are compiled and measured by torch during their first calls
WARMUP = 6
# seconds for each group of a case, beside three rounds that are always taken
BUDGET = 40.0
# of the RMS of the forces, and of that of the energies without those of the isolated atoms
AGREEMENT = {"float64": 1e-8, "float32": 1e-4, "tables": 1e-4}


@dataclass(frozen=True, slots=True)
class Case:
    """One model on one system, in one dtype, with so many threads."""

    model: str
    system: str
    dtype: str
    threads: int

    def name(self, what: str) -> str:
        """The name of a row: what is measured, the model, the system."""
        channels, hidden = MODELS[self.model]
        features = "+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(hidden + 1))
        return f"{what}, mace {self.model} ({features}), {self.system}"


def cases(quick: bool) -> Iterator[Case]:
    """Every case; with `quick` both models on molecules, one thread."""
    if quick:
        for system, model, dtype in product(("acac10", "single"), ("small", "big"), ("float32", "float64")):
            yield Case(model, system, dtype, 1)
        return
    threads = [count for count in (1, 2) if count <= cores()]
    for count, dtype, system, model in product(threads, ("float32", "float64"), SYSTEMS, ("small", "big")):
        yield Case(model, system, dtype, count)


class Peer:
    """mace-torch in its own process."""

    def __init__(self, python: Path) -> None:
        if not python.exists():
            raise SystemExit(f"{python} does not exist; `make oracles` makes it, --peer names another")
        self.python = python

    def __enter__(self) -> "Peer":
        self.process = subprocess.Popen(
            [self.python, "-W", "ignore", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def ask(self, **command: Any) -> Any:
        """One command, and its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(command), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.python} {WORKER} ended with {self.process.wait()}; run it to see why")
        return json.loads(answer)

    def version(self) -> str:
        """Of mace-torch."""
        code = "import importlib.metadata as m; print(m.version('mace-torch'))"
        return subprocess.run(
            [self.python, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()


def groups_of(case: Case) -> Iterator[tuple[str, ...]]:
    """What is measured in a case: training where a batch is like those of training."""
    yield GROUPS[0]
    if case.system in ("acac10", "si216"):
        yield GROUPS[1]


def measure(case: Case, whats: Sequence[str], repeats: int, python: Path) -> Sequence[Row]:
    """Rows of a case: ours and the peer in turn, ours first in every other round."""
    clock = time.process_time if case.threads == 1 else time.perf_counter
    with Peer(python) as peer, tempfile.TemporaryDirectory() as folder:
        ours = prepare(case, peer, Path(folder) / "weights.npz")
        seconds: dict[str, tuple[list[float], list[float]]] = {what: ([], []) for what in whats}
        began_all = time.monotonic()
        for number in range(repeats + WARMUP):
            late = time.monotonic() - began_all > BUDGET
            if late and all(len(taken) >= 3 for taken, _ in seconds.values()):
                break
            for what in whats:
                for mine in (True, False) if number % 2 else (False, True):
                    if mine:
                        began = clock()
                        ours[what]()
                        taken = clock() - began
                    else:
                        taken = peer.ask(do="step", name=OF_PEER[what])["seconds"]
                    # a peer that takes seconds for a step has warmed up sooner
                    if number >= (2 if late else WARMUP):
                        seconds[what][0 if mine else 1].append(taken)
        source = f"mace-torch {peer.version()}, measured side by side"
    return [_row(case, what, *seconds[what], source) for what in whats]


def _row(case: Case, what: str, ours: list[float], theirs: list[float], source: str) -> Row:
    spread = spread_of(ours)
    # the bars are for batches and crystals; of one molecule speed_alone.py has those for latency
    floor, aim = (None, None) if case.system == "single" else BARS.get((case.model, what), (None, None))
    return Row(
        name=case.name(what),
        value=1e3 * statistics.median(ours),
        unit="ms",
        better="lower",
        reference=1e3 * statistics.median(theirs),
        source=source,
        ratio=paired_ratio(ours, theirs)[0],
        floor=floor,
        aim=aim,
        spread=None if spread is None else 1e3 * spread,
        threads=case.threads,
        dtype=case.dtype,
    )


def prepare(case: Case, peer: Peer, weights: Path) -> dict[str, Callable[[], object]]:
    """The peer's model, and our steps with its weights on the same batch, once their answers agree."""
    import torch
    from equic.runtime.build import build_module
    from equic.runtime.importing import import_mace
    from equic.runtime.neighbors import model_inputs
    from equic.runtime.tabulate import build_tables

    torch.set_num_threads(case.threads)
    frames = structures(case.system)
    rng = np.random.default_rng(0)
    by_energy = rng.normal(size=len(frames))
    by_forces = rng.normal(size=(sum(map(len, frames)), 3))
    answer = peer.ask(
        do="build",
        settings=settings(case, frames),
        dtype=case.dtype,
        threads=case.threads,
        weights=str(weights),
        structures=[
            {
                "numbers": atoms.numbers.tolist(),
                "positions": atoms.positions.tolist(),
                "cell": atoms.cell.tolist(),
                "pbc": atoms.pbc.tolist(),
            }
            for atoms in frames
        ],
        by_energy=by_energy.tolist(),
        by_forces=by_forces.tolist(),
    )
    with np.load(weights, allow_pickle=False) as arrays:
        plan = plan_of(arrays)
        model = build_module(plan, seed=0, dtype=torch.float64)
        import_mace(arrays, model)
    model = model.to(getattr(torch, case.dtype))
    inputs = model_inputs(frames, plan)
    a, b = torch.from_numpy(by_energy), torch.from_numpy(by_forces)

    def predict() -> object:
        return model(inputs)

    def train() -> object:
        model.zero_grad(set_to_none=True)
        found = model(inputs, create_graph=True)
        loss = (found["energy"] * a).sum() + (found["forces"] * b).sum()
        loss.backward()
        return loss

    outputs = model(inputs)
    isolated = model.statistics.atomic_energies[inputs["species"]]
    outputs["energy"] -= torch.zeros_like(a).index_add(0, inputs["system"], isolated)
    check(outputs, answer, case.dtype)
    if inputs["edges"].shape[1] != answer["edges"]:
        raise SystemExit("the two programs find different neighbours")
    tabulated = build_tables(model, TABLES)

    def look_up() -> object:
        return tabulated(inputs)

    outputs = tabulated(inputs)
    outputs["energy"] -= torch.zeros_like(a).index_add(0, inputs["system"], isolated)
    check(outputs, answer, "tables")
    return dict(zip(WHAT, (predict, look_up, train), strict=True))


def settings(case: Case, frames: Sequence[Any]) -> dict[str, Any]:
    """What the peer builds."""
    return {
        "numbers": sorted({int(z) for atoms in frames for z in atoms.numbers}),
        "channels": MODELS[case.model][0],
        "lmax": 3,
        "hidden_lmax": MODELS[case.model][1],
        "correlation": 3,
        "layers": 2,
        "cutoff": CUTOFF,
        "bessel": 8,
        "envelope": 5,
        "radial": [64, 64, 64],
        "readout": 16,
        "neighbors": 12.0,
        "seed": 0,
    }


def plan_of(arrays: Any) -> Any:
    """Our plan of the peer's model, with energy and forces."""
    import yaml
    from equic.compiler.language.diagnostics import Report
    from equic.compiler.language.source import source_from_text
    from equic.compiler.pipeline import compile_spec
    from equic.runtime.importing import mace_spec
    from equic.runtime.plan import Plan

    targets = {
        "energy": {"per": "system", "rep": "0e", "unit": "eV"},
        "forces": {"gradient_of": "energy", "wrt": "positions", "scale": -1},
    }
    spec = {"equic": 1, "name": "peer", "symmetry": {"O(3)": "hard"}, "targets": targets}
    report = Report()
    text = yaml.safe_dump(spec | mace_spec(arrays), allow_unicode=True)
    done = compile_spec(source_from_text(text, report=report), report)
    report.raise_if_errors()
    assert done.plan is not None
    return Plan.from_json(done.plan)


def check(outputs: dict[str, Any], answer: dict[str, Any], dtype: str) -> None:
    """Refuse to time two models that are not the same."""
    for what in ("energy", "forces"):
        theirs = np.array(answer[what])
        error = float(np.abs(outputs[what].numpy() - theirs).max() / np.sqrt((theirs**2).mean()))
        if not error < AGREEMENT[dtype]:
            raise SystemExit(f"{what} differ by {error:.1e} of their scale in {dtype}: nothing is timed")


def draw(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """How many times faster each row is, and where its floor lies, as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "equic", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=(8, 0.8 + 0.3 * len(rows)), layout="constrained")
        names = [f"{row['name']}, {row['dtype']}, {row['threads']} thread(s)" for row in rows]
        axes.barh(names, [row["ratio"] for row in rows], color="tab:blue", height=0.6)
        floors = [(number, row["floor"]) for number, row in enumerate(rows) if row["floor"] is not None]
        axes.plot([x for _, x in floors], [y for y, _ in floors], "k|", markersize=12, label="floor")
        axes.invert_yaxis()
        axes.set_xlabel("times faster than mace-torch, same weights")
        axes.legend(loc="lower right", frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})
        pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--peer", type=Path, default=PEER, metavar="PYTHON", help="Python with mace-torch")
    given = options.parse_args(arguments)
    repeats = given.repeats or (5 if given.quick else 9)
    groups = [
        Measurement(
            keys=tuple((case.name(what), case.threads, case.dtype) for what in whats),
            measure=partial(measure, case, whats, repeats, given.peer),
        )
        for case in cases(given.quick)
        for whats in groups_of(case)
    ]
    result = run("speed", groups, given)
    if given.json is not None:
        draw(given.json.with_suffix(".svg"), result["rows"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
