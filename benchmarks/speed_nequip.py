"""Speed of our NequIP and Allegro against nequip and nequip-allegro, with the same weights, on the CPU.

Energy and forces run against the peer's model compiled with AOTInductor (as `nequip-compile` does, without stress)
and against the same model as it is written; a training step (a loss of energies and forces, backward) against the
model as written, which is how it trains unless told otherwise. Neighbours are found before, and answers compared
before anything is timed; memory of training is what processes grow by. Models: nq32p, 4 layers, l_max 2, both
parities, 32 features; nq64, 4 layers, l_max 2, natural parities, 64 features; allegro, 2 layers, l_max 2, both
parities, 64 scalars and 32 tensors; cutoff 5 Å. Systems: acac10, ten molecules in one batch; si216, a crystal.
Compiled models stay in --cache: the first run takes half a minute (allegro) to three minutes (nq32p) for each model,
system, dtype and number of threads.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Measurement, Row, cores, parser, run
from side_by_side import Peer, check, draw, in_turn, plan_of, present, row_of, spec_of, timed, without_atoms
from speed_alone import ask, memory_row
from step_time import CUTOFF, structures

WORKER = Path(__file__).parent / "peers/nequip_worker.py"
PEERS = {"nequip": ROOT / ".venv-nequip/bin/python", "nequip-allegro": ROOT / ".venv-allegro/bin/python"}
CACHE = ROOT / "build/peers/nequip"
SYSTEMS = ("acac10", "si216")
# the package that each is a model of, and its settings there
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "nq32p": ("nequip", {"num_layers": 4, "l_max": 2, "parity": True, "num_features": 32}),
    "nq64": ("nequip", {"num_layers": 4, "l_max": 2, "parity": False, "num_features": 64}),
    "allegro": (
        "nequip-allegro",
        {
            "num_layers": 2,
            "l_max": 2,
            "parity": True,
            "num_scalar_features": 64,
            "num_tensor_features": 32,
            "radial_chemical_embed": {
                "_target_": "allegro.nn.TwoBodyBesselScalarEmbed",
                "num_bessels": 8,
                "bessel_trainable": False,
                "polynomial_cutoff_p": 6,
            },
        },
    ),
}
# what is measured, of which form of the peer
WHAT = {"energy+forces": ("compiled", "eager"), "training step": ("eager",)}
# how many times faster we must be and want to be, by package
BARS = {
    ("nequip", "energy+forces", "compiled"): (4.0, 8.0),
    ("nequip-allegro", "energy+forces", "compiled"): (1.0, 2.0),
    ("nequip", "training step", "eager"): (3.0, 6.0),
}
# of the RMS of the forces, and of that of the energies
AGREEMENT = {"float64": 1e-8, "float32": 1e-4}
# steps of training in which memory is measured
CALLS = 5


@dataclass(frozen=True, slots=True)
class Case:
    """One model on one system, in one dtype, with so many threads."""

    model: str
    system: str
    dtype: str
    threads: int

    @property
    def package(self) -> str:
        """The peer's."""
        return MODELS[self.model][0]

    def name(self, what: str, form: str) -> str:
        """The name of a row: what is measured, the model, the system, the peer's form."""
        return f"{what}, {self.model}, {self.system}, {self.package} {form}"


def cases(quick: bool) -> Iterator[Case]:
    """Every case; with `quick` molecules in float32, one thread."""
    if quick:
        for model in MODELS:
            yield Case(model, "acac10", "float32", 1)
        return
    threads = [count for count in (1, 2) if count <= cores()]
    for count, dtype, system, model in product(threads, ("float32", "float64"), SYSTEMS, MODELS):
        yield Case(model, system, dtype, count)


def measure(case: Case, what: str, repeats: int, options: Any) -> Sequence[Row]:
    """Rows of a case."""
    frames = structures(case.system)
    with (
        Peer(python_of(case, options), WORKER, {"OMP_NUM_THREADS": str(case.threads)}) as peer,
        tempfile.TemporaryDirectory() as folder,
    ):
        ours = prepare(case, frames, peer, Path(folder) / "weights.npz", options.cache)[what]
        pairs = {
            form: (timed(ours, case.threads), peer.step("training step" if what == "training step" else form))
            for form in WHAT[what]
        }
        seconds = in_turn(pairs, repeats, threads=case.threads)
        source = f"{case.package} {peer.version(case.package)}"
    return [
        row_of(
            case.name(what, form),
            *seconds[form],
            f"{source} {form}, measured side by side",
            BARS.get((case.package, what, form), (None, None)),
            threads=case.threads,
            dtype=case.dtype,
        )
        for form in WHAT[what]
    ]


def prepare(case: Case, frames: Sequence[Any], peer: Peer, weights: Path, cache: Path) -> dict[str, Any]:
    """The peer's model, and our steps with its weights on the same batch, once their answers agree."""
    import torch
    from equic.runtime.build import build_module
    from equic.runtime.importing import IMPORTERS
    from equic.runtime.neighbors import model_inputs

    torch.set_num_threads(case.threads)
    rng = np.random.default_rng(0)
    by_energy = rng.normal(size=len(frames))
    by_forces = rng.normal(size=(sum(map(len, frames)), 3))
    more = {**about(case, frames), "cache": str(cache.resolve())}
    answer = peer.build(frames, weights, by_energy, by_forces, **more)
    importer = IMPORTERS["nequip"]
    with np.load(weights, allow_pickle=False) as arrays:
        plan = plan_of(importer.spec(arrays))
        model = build_module(plan, seed=0, dtype=torch.float64)
        importer.fill(arrays, model)
    model = model.to(getattr(torch, case.dtype))
    inputs = model_inputs(frames, plan)
    a, b = torch.from_numpy(by_energy), torch.from_numpy(by_forces)

    def train() -> object:
        model.zero_grad(set_to_none=True)
        found = model.trainable(inputs, ("energy", "forces"))
        loss = (found["energy"] * a).sum() + (found["forces"] * b).sum()
        loss.backward()
        return loss

    for form in WHAT["energy+forces"]:
        where = f"{case.dtype}, {case.package} {form}"
        check(without_atoms(model(inputs), model, inputs), answer[form], AGREEMENT[case.dtype], where)
    if inputs["edges"].shape[1] != answer["edges"]:
        raise SystemExit("the two programs find different neighbours")
    return {"energy+forces": partial(model, inputs), "training step": train}


def about(case: Case, frames: Sequence[Any]) -> dict[str, Any]:
    """The model that the peer is to build."""
    return {
        "package": case.package,
        "settings": settings(case, frames),
        "dtype": case.dtype,
        "threads": case.threads,
    }


def training_memory(model: str, system: str, options: Any) -> Sequence[Row]:
    """What a process grows by for training steps, against the peer's as it is written."""
    from equic.runtime.importing import IMPORTERS

    case, frames = Case(model, system, "float32", 1), structures(system)
    atoms = sum(map(len, frames))
    with Peer(python_of(case, options), WORKER) as peer, tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.npz"
        more = {**about(case, frames), "calls": CALLS}
        answer = peer.build(frames, weights, np.ones(len(frames)), np.ones((atoms, 3)), **more)
        theirs = answer["growth"] / atoms / 1024.0, f"{case.package} {peer.version(case.package)}"
        with np.load(weights, allow_pickle=False) as arrays:
            spec = spec_of(IMPORTERS["nequip"].spec(arrays))
    command = {"do": "training", "spec": spec, "system": system, "dtype": case.dtype, "threads": 1}
    ours = ask({**command, "recompute": False, "calls": CALLS})
    return [memory_row(memory_name(case), ours, theirs, floor=2.0 if case.package == "nequip" else None)]


def memory_name(case: Case) -> str:
    """The name of such a row."""
    return f"training memory per atom, {case.model}, {case.system}, {case.package} eager"


def python_of(case: Case, options: Any) -> Path:
    """That of the peer's environment."""
    return Path({"nequip": options.nequip, "nequip-allegro": options.allegro}[case.package])


def settings(case: Case, frames: Sequence[Any]) -> dict[str, Any]:
    """What the peer builds."""
    return {
        **MODELS[case.model][1],
        "seed": 0,
        "r_max": CUTOFF,
        "type_names": sorted({name for atoms in frames for name in atoms.get_chemical_symbols()}),
        "avg_num_neighbors": 12.0,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    options = parser(__doc__.splitlines()[0])
    for package, python in PEERS.items():
        name = package.removeprefix("nequip-")
        options.add_argument(f"--{name}", type=Path, default=python, metavar="PYTHON", help=f"with {package}")
    options.add_argument(
        "--cache", type=Path, default=CACHE, metavar="DIR", help="where compiled models stay"
    )
    given = options.parse_args(arguments)
    # before anything is measured: a peer may have its first turn late
    for case in cases(given.quick):
        if any(given.only in case.name(what, form) for what, forms in WHAT.items() for form in forms):
            present(python_of(case, given))
    repeats = given.repeats or (5 if given.quick else 9)
    groups = [
        Measurement(
            keys=tuple((case.name(what, form), case.threads, case.dtype) for form in WHAT[what]),
            measure=partial(measure, case, what, repeats, given),
        )
        for case in cases(given.quick)
        for what in WHAT
    ]
    groups += [
        Measurement(
            ((memory_name(Case(model, system, "float32", 1)), 1, "float32"),),
            partial(training_memory, model, system, given),
        )
        for model, system in product(MODELS, SYSTEMS[:1] if given.quick else SYSTEMS)
    ]
    result = run("speed_nequip", groups, given)
    if given.json is not None:
        draw(given.json.with_suffix(".svg"), result["rows"], "nequip and nequip-allegro")
    return 0


if __name__ == "__main__":
    sys.exit(main())
