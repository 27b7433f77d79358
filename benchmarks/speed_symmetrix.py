"""Speed and memory of our tabulated MACE against symmetrix-xl, a generated C++ engine, and symmetrix, its origin.

Both have splines in the place of radial networks: its own 256 knots, ours for an error of 1e-6. symmetrix-xl runs
as it is installed, and without its check of the BLAS library at every call (`SYMMETRIX_HOST_WORKER_BLAS=unsafe`:
its fastest setting, safe with one thread; the check looks a symbol up and takes longer than a small model).
`tabulated` is a call of its calculator, which keeps its neighbour list, against a call of our model with
neighbours given (one molecule, a batch of ten, two crystals: `speed.py`); its batch is one structure without
periodicity, and crystals give stress as well, which it finds at no cost of note. `md step` is `get_forces` of
both calculators while atoms move, each with its own list and skin. `memory per atom` is what a process grows by
over the first call, neighbours included in both. Compiled engines stay in --cache: the first run takes some 10 s
for each model, element set and dtype. symmetrix runs on one molecule alone, as its successor is the faster by far
on more atoms; `tabulated` is then a call of its library, which ends with a force for each pair.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Measurement, Row, cores, parser, run
from side_by_side import Peer, check, draw, in_turn, packed, plan_of, present, row_of, timed, without_atoms
from speed import MODELS, SYSTEMS, TABLES, Case, settings
from speed_alone import ask
from step_time import structures

PEERS = Path(__file__).parent / "peers"
PYTHONS = {
    "symmetrix-xl": ROOT / ".venv-symmetrix/bin/python",
    "symmetrix": ROOT / ".venv-symmetrix-origin/bin/python",
}
CACHE = ROOT / "build/peers"
# package, worker and environment of each engine, by what a row says
ENGINES: dict[str, tuple[str, str, dict[str, str]]] = {
    f"symmetrix-xl {how}": ("symmetrix-xl", "symmetrix_worker.py", {"SYMMETRIX_HOST_WORKER_BLAS": setting})
    for how, setting in (("as installed", "automatic"), ("without its check of BLAS", "unsafe"))
} | {"symmetrix": ("symmetrix", "symmetrix_origin_worker.py", {})}
# how many times faster we must be and want to be; one molecule at a time need only be as fast
BARS = {"big": (1.5, 3.0), "small": (2.0, 4.0)}
LATENCY = (1.0, None)
# of the RMS of the forces: its splines have 256 knots at any precision, and give 4e-5 of the largest force
AGREEMENT = 2e-4
WHAT = ("tabulated", "md step")


def cases(quick: bool) -> Iterator[Case]:
    """Every case; with `quick` both models on molecules, one thread."""
    if quick:
        for system, model, dtype in product(("acac10", "single"), ("small", "big"), ("float32", "float64")):
            yield Case(model, system, dtype, 1)
        return
    threads = [count for count in (1, 2) if count <= cores()]
    for count, dtype, system, model in product(threads, ("float32", "float64"), SYSTEMS, ("small", "big")):
        yield Case(model, system, dtype, count)


def bars_of(case: Case, what: str) -> tuple[float | None, float | None]:
    """What a row has to reach; none of dynamics of many atoms, which has the bars of its model already."""
    if what != "tabulated" and case.system != "single":
        return None, None
    return LATENCY if case.system == "single" else BARS[case.model]


def whats_of(case: Case) -> tuple[str, ...]:
    """What is measured in a case: a batch has no molecular dynamics."""
    return WHAT[:1] if case.system == "acac10" else WHAT


def engines_of(case: Case) -> list[str]:
    """The engines that run in a case."""
    return [one for one in ENGINES if case.system == "single" or one != "symmetrix"]


def names(case: Case) -> list[str]:
    """The rows of a case."""
    return [f"{case.name(what)}, {against}" for what, against in product(whats_of(case), engines_of(case))]


def start(against: str, threads: int, options: Any) -> Peer:
    """An engine."""
    package, worker, settings = ENGINES[against]
    environment = {
        "OMP_NUM_THREADS": str(threads),
        "OMP_PROC_BIND": "false",
        "SYMMETRIX_JIT_CACHE": str(cache_of(against, options) / "jit"),
        **settings,
    }
    return Peer(python_of(package, options), PEERS / worker, environment)


def python_of(package: str, options: Any) -> Path:
    """That of its environment."""
    return Path({"symmetrix-xl": options.peer, "symmetrix": options.origin}[package])


def cache_of(against: str, options: Any) -> Path:
    """Where its models stay: each program writes them in its own way."""
    return Path(options.cache.resolve() / ENGINES[against][0])


def source_of(against: str, peer: Peer, options: Any) -> str:
    """What a row says of an engine."""
    package = ENGINES[against][0]
    profile = f", profile {options.profile}" if package == "symmetrix-xl" else ""
    return f"{package} {peer.version(package)}{profile}"


def build(against: str, peer: Peer, case: Case, frames: Sequence[Any], options: Any) -> Any:
    """Its model, and what it answers."""
    return peer.ask(
        do="build",
        settings=settings(case, frames),
        dtype=case.dtype,
        threads=case.threads,
        profile=options.profile,
        cache=str(cache_of(against, options)),
        structures=packed(frames),
    )


def measure(case: Case, repeats: int, options: Any) -> Sequence[Row]:
    """Rows of a case, the engines and ours in turn."""
    frames = structures(case.system)
    with ExitStack() as stack:
        peers = {one: stack.enter_context(start(one, case.threads, options)) for one in engines_of(case)}
        answers = {one: build(one, peer, case, frames, options) for one, peer in peers.items()}
        ours = prepare(case, frames, answers)
        pairs = {
            (what, one): (
                timed(ours[what], case.threads),
                peer.step("energy+forces" if what == "tabulated" else what),
            )
            for what in whats_of(case)
            for one, peer in peers.items()
        }
        seconds = in_turn(pairs, repeats, threads=case.threads)
        sources = {one: source_of(one, peer, options) for one, peer in peers.items()}
    return [
        row_of(
            f"{case.name(what)}, {one}",
            *taken,
            f"{sources[one]}, measured side by side",
            bars_of(case, what),
            threads=case.threads,
            dtype=case.dtype,
        )
        for (what, one), taken in seconds.items()
    ]


def prepare(case: Case, frames: Sequence[Any], answers: Any) -> dict[str, Any]:
    """Our steps with its weights on the same structures, once all answers agree."""
    import torch
    from equic.runtime.build import build_module
    from equic.runtime.calculators import EquicCalculator
    from equic.runtime.importing import import_mace, mace_spec
    from equic.runtime.neighbors import model_inputs
    from equic.runtime.tabulate import build_tables

    torch.set_num_threads(case.threads)
    with np.load(next(iter(answers.values()))["weights"], allow_pickle=False) as arrays:
        plan = plan_of(mace_spec(arrays))
        model = build_module(plan, seed=0, dtype=torch.float64)
        import_mace(arrays, model)
    model = build_tables(model.to(getattr(torch, case.dtype)), TABLES)
    inputs = model_inputs(frames, plan)
    for against, answer in answers.items():
        theirs = without_atoms({**answer, "energy": torch.tensor(answer["energy"]).double()}, model, inputs)
        check(without_atoms(model(inputs), model, inputs), theirs, AGREEMENT, f"{case.dtype} of {against}")
        if inputs["edges"].shape[1] != answer["edges"]:
            raise SystemExit("the two programs find different neighbours")
    atoms = frames[0].copy()
    atoms.calc = EquicCalculator(model, device="cpu")
    rng = np.random.default_rng(0)

    def move() -> object:
        atoms.positions += rng.normal(scale=0.005, size=atoms.positions.shape)
        return atoms.get_forces()

    return {"tabulated": partial(model, inputs), "md step": move}


def memory(model: str, system: str, options: Any) -> Sequence[Row]:
    """What a process grows by over the first call, with the neighbours of the structure."""
    case = Case(model, system, "float32", 1)
    found = ask(
        {"do": "step", "model": MODELS[model], "system": system, "dtype": "float32", "threads": 1}
        | {"tables": True, "repeats": 1}
    )
    frames = structures(system)
    against = "symmetrix-xl as installed"
    with start(against, 1, options) as peer:
        answer = build(against, peer, case, frames, options)
        source = source_of(against, peer, options)
    atoms = len(frames[0])
    ours, theirs = (grown / atoms / 1024.0 for grown in (found["growth with neighbours"], answer["growth"]))
    name = memory_name(model, system)
    return [
        Row(name, ours, "KiB", "lower", theirs, source, theirs / ours, floor=1.0, threads=1, dtype="float32")
    ]


def memory_name(model: str, system: str) -> str:
    """The name of such a row."""
    return f"memory per atom, mace {model}, {system}, tabulated"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    options = parser(__doc__.splitlines()[0])
    for name, (package, python) in zip(("--peer", "--origin"), PYTHONS.items(), strict=True):
        options.add_argument(name, type=Path, default=python, metavar="PYTHON", help=f"with {package}")
    options.add_argument("--cache", type=Path, default=CACHE, metavar="DIR", help="where their models stay")
    options.add_argument(
        "--profile",
        choices=("speed", "capacity"),
        default="speed",
        help="of symmetrix-xl; capacity, its default, runs 2 to 14 %% faster where it compiles (big: 10 minutes)",
    )
    given = options.parse_args(arguments)
    # before anything is measured: an engine may have its first turn late
    wanted = [case for case in cases(given.quick) if any(given.only in name for name in names(case))]
    for package in sorted({ENGINES[one][0] for case in wanted for one in engines_of(case)}):
        present(python_of(package, given))
    repeats = given.repeats or (15 if given.quick else 25)
    groups = [
        Measurement(
            keys=tuple((name, case.threads, case.dtype) for name in names(case)),
            measure=partial(measure, case, repeats, given),
        )
        for case in cases(given.quick)
    ]
    groups += [
        Measurement(((memory_name(model, system), 1, "float32"),), partial(memory, model, system, given))
        for model, system in product(BARS, ("si1000",) if given.quick else ("si1000", "si10648"))
    ]
    result = run("speed_symmetrix", groups, given)
    if given.json is not None:
        draw(given.json.with_suffix(".svg"), result["rows"], "symmetrix-xl and symmetrix")
    return 0


if __name__ == "__main__":
    sys.exit(main())
