"""One model of ours in a process of its own: what its first call takes, how fast it runs, how much memory it grows by.

`python own_worker.py '{"do": ..., ...}'` prints one JSON object.
"""

import json
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SPEC = """\
equic: 1
name: speed
system: {{kind: atoms, species: [{species}], cutoff: 5.0 Å}}
symmetry: {{O(3): hard}}
targets:
  energy: {{per: system, rep: 0e, unit: eV}}
  forces: {{gradient_of: energy, wrt: positions, scale: -1}}
model: {{architecture: mace, channels: {channels}, hidden_lmax: {degree}, correlation: 3, layers: 2}}
"""


def text_of(channels: int, degree: int, species: str) -> str:
    """The spec of a model."""
    return SPEC.format(channels=channels, degree=degree, species=species)


def made(command: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """A model with fresh weights, tabulated if asked for, and its structures."""
    import torch
    from equic.runtime.build import build_module
    from equic.runtime.plan import Plan
    from equic.runtime.tabulate import build_tables
    from step_time import structures

    torch.set_num_threads(command["threads"])
    frames = structures(command["system"])
    names = ", ".join(sorted({name for atoms in frames for name in atoms.get_chemical_symbols()}))
    plan = Plan.from_json(compiled(command.get("spec") or text_of(*command["model"], names)))
    model = build_module(plan, seed=0, dtype=getattr(torch, command["dtype"]))
    if "average_neighbors" in plan.statistics:
        model.set_statistics({"average_neighbors": 12.0})
    return (build_tables(model, 1e-6) if command["tables"] else model), frames


def compiled(text: str) -> dict[str, Any]:
    """The plan of a spec text."""
    from equic.compiler.language.diagnostics import Report
    from equic.compiler.language.source import source_from_text
    from equic.compiler.pipeline import compile_spec

    report = Report()
    done = compile_spec(source_from_text(text, report=report), report)
    report.raise_if_errors()
    assert done.plan is not None
    return done.plan


def step(command: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of a step, and the growth of the process's largest size over its calls, in bytes.

    The growth is counted from when neighbours are known, and from before they are searched.
    """
    from equic.runtime.memory import keep_freed_memory
    from equic.runtime.neighbors import model_inputs
    from peak import growth, mark

    keep_freed_memory()
    model, frames = made(command)
    start = mark()
    inputs = model_inputs(frames, model.plan)
    neighbors = growth(start)
    clock = time.process_time if command["threads"] == 1 else time.perf_counter
    before = mark()
    taken = []
    for _ in range(1 + command["repeats"]):
        began = clock()
        model(inputs)
        taken.append(clock() - began)
    return {
        "seconds": statistics.median(taken[1:]),
        "growth": growth(before),
        "growth with neighbours": max(neighbors, before - start + growth(before)),
        "atoms": sum(map(len, frames)),
        "edges": int(inputs["edges"].shape[1]),
    }


def training(command: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of a training step, and the growth of the process's largest size over its calls, in bytes.

    With gradients of all weights by a loss on energies and forces; the optimiser's own update is left out.
    """
    import numpy as np
    import torch
    from equic.runtime.memory import keep_freed_memory
    from equic.runtime.neighbors import model_inputs
    from peak import growth, mark

    keep_freed_memory()
    model, frames = made({**command, "tables": False})
    inputs = model_inputs(frames, model.plan)
    rng = np.random.default_rng(0)
    by_energy = torch.tensor(rng.normal(size=len(frames)))
    by_forces = torch.tensor(rng.normal(size=tuple(inputs["positions"].shape)))
    clock = time.process_time if command["threads"] == 1 else time.perf_counter
    before = mark()
    taken = []
    for _ in range(command["calls"]):
        began = clock()
        model.zero_grad(set_to_none=True)
        if command["recompute"]:
            found = model(inputs, create_graph=True, recompute=True)
        else:
            found = model.trainable(inputs, ("energy", "forces"))
        ((found["energy"] * by_energy).sum() + (found["forces"] * by_forces).sum()).backward()
        taken.append(clock() - began)
    return {
        "seconds": statistics.median(taken[1:]),
        "growth": growth(before),
        "atoms": sum(map(len, frames)),
    }


def dynamics(command: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of one `get_forces` in a loop that moves atoms as molecular dynamics does, neighbours included."""
    import numpy as np
    from equic.runtime.calculators import EquicCalculator

    model, (atoms,) = made(command)
    atoms.calc = EquicCalculator(model, device="cpu")
    rng = np.random.default_rng(0)
    clock = time.process_time if command["threads"] == 1 else time.perf_counter
    taken = []
    for _ in range(20 + command["repeats"]):
        atoms.positions += rng.normal(scale=0.005, size=atoms.positions.shape)
        began = clock()
        atoms.get_forces()
        taken.append(clock() - began)
    return {"seconds": statistics.fmean(taken[20:])}


def ready(command: Mapping[str, Any]) -> dict[str, float]:
    """Seconds from a spec's text to the answer of its module, imports done."""
    import torch
    from equic.compiler import pipeline
    from equic.runtime.build import build_module
    from equic.runtime.neighbors import model_inputs
    from equic.runtime.plan import Plan
    from step_time import structures

    torch.set_num_threads(command["threads"])
    frames = structures(command["system"])
    assert pipeline
    began = time.perf_counter()
    plan = Plan.from_json(compiled(text_of(*command["model"], "C, H, O")))
    model = build_module(plan, seed=0, dtype=getattr(torch, command["dtype"]))
    inputs = model_inputs(frames, plan)
    model(inputs)
    return {"seconds": time.perf_counter() - began}


def imports(command: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of importing what runs an artifact."""
    began = time.perf_counter()
    import equic.runtime.artifact
    import equic.runtime.kernels.runner
    import equic.runtime.neighbors

    assert equic.runtime.artifact
    return {"seconds": time.perf_counter() - began}


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    whats = {"step": step, "training": training, "dynamics": dynamics, "ready": ready, "imports": imports}
    print(json.dumps(whats[asked["do"]](asked)))
