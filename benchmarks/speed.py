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

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Measurement, Row, cores, parser, run
from side_by_side import Peer, check, draw, in_turn, plan_of, row_of, timed, without_atoms
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


def groups_of(case: Case) -> Iterator[tuple[str, ...]]:
    """What is measured in a case: training where a batch is like those of training."""
    yield GROUPS[0]
    if case.system in ("acac10", "si216"):
        yield GROUPS[1]


def measure(case: Case, whats: Sequence[str], repeats: int, python: Path) -> Sequence[Row]:
    """Rows of a case."""
    with Peer(python, WORKER) as peer, tempfile.TemporaryDirectory() as folder:
        ours = prepare(case, peer, Path(folder) / "weights.npz")
        pairs = {what: (timed(ours[what], case.threads), peer.step(OF_PEER[what])) for what in whats}
        seconds = in_turn(pairs, repeats, threads=case.threads)
        source = f"mace-torch {peer.version('mace-torch')}, measured side by side"
    return [_row(case, what, *seconds[what], source) for what in whats]


def _row(case: Case, what: str, ours: list[float], theirs: list[float], source: str) -> Row:
    # the bars are for batches and crystals; of one molecule speed_alone.py has those for latency
    bars = (None, None) if case.system == "single" else BARS.get((case.model, what), (None, None))
    return row_of(case.name(what), ours, theirs, source, bars, threads=case.threads, dtype=case.dtype)


def prepare(case: Case, peer: Peer, weights: Path) -> dict[str, Callable[[], object]]:
    """The peer's model, and our steps with its weights on the same batch, once their answers agree."""
    import torch
    from equic.runtime.build import build_module
    from equic.runtime.importing import import_mace, mace_spec
    from equic.runtime.neighbors import model_inputs
    from equic.runtime.tabulate import build_tables

    torch.set_num_threads(case.threads)
    frames = structures(case.system)
    rng = np.random.default_rng(0)
    by_energy = rng.normal(size=len(frames))
    by_forces = rng.normal(size=(sum(map(len, frames)), 3))
    about = {"settings": settings(case, frames), "dtype": case.dtype, "threads": case.threads}
    answer = peer.build(frames, weights, by_energy, by_forces, **about)
    with np.load(weights, allow_pickle=False) as arrays:
        plan = plan_of(mace_spec(arrays))
        model = build_module(plan, seed=0, dtype=torch.float64)
        import_mace(arrays, model)
    model = model.to(getattr(torch, case.dtype))
    inputs = model_inputs(frames, plan)
    a, b = torch.from_numpy(by_energy), torch.from_numpy(by_forces)

    def predict() -> Any:
        return model(inputs)

    def train() -> object:
        model.zero_grad(set_to_none=True)
        found = model.trainable(inputs, ("energy", "forces"))
        loss = (found["energy"] * a).sum() + (found["forces"] * b).sum()
        loss.backward()
        return loss

    check(without_atoms(predict(), model, inputs), answer, AGREEMENT[case.dtype], case.dtype)
    if inputs["edges"].shape[1] != answer["edges"]:
        raise SystemExit("the two programs find different neighbours")
    tabulated = build_tables(model, TABLES)

    def look_up() -> Any:
        return tabulated(inputs)

    check(without_atoms(look_up(), model, inputs), answer, AGREEMENT["tables"], "tables")
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
        draw(given.json.with_suffix(".svg"), result["rows"], "mace-torch")
    return 0


if __name__ == "__main__":
    sys.exit(main())
