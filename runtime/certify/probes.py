"""Numbers that travel with an exported file: what the model itself says about a few inputs, in float64."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from equic.runtime.errors import ExportError
from numpy.typing import NDArray

from .certificate import Item
from .frames import random_cells, random_clusters
from .geometry import Geometry, given_inputs
from .judge import TOLERANCES, Rule, judge, not_applicable
from .subject import Subject, dtype_of

Array = NDArray[np.float64]

PARITY = "parity with the reference"
PROBES_VERSION = 1
_FLOAT32_TABLES = 1e-5


def probes(model: Any, seed: int = 0) -> dict[str, Any]:
    """Inputs and float64 outputs of a model, as plain lists for the metadata of an exported file.

    Atoms: two clusters and, where the model has a stress, two periodic cells. Phase space: eight states.
    """
    subject = Subject(_on_layers(model), "float64")
    rng = np.random.default_rng(seed)
    if subject.plan.kind == "phase_space":
        states = rng.normal(size=(8, int(subject.plan.system["dim"])))
        found: dict[str, Any] = {"states": states.tolist()}
        outputs = {"derivatives": subject.flow(states)}
        if subject.has_hamiltonian:
            outputs["hamiltonian"] = subject.hamiltonian(states)
    else:
        frames = _frames(subject.plan, rng)
        found = {"frames": [_write(frame) for frame in frames]}
        outputs = _answers(subject, frames)
    outputs_json = {name: value.tolist() for name, value in outputs.items()}
    return {"version": PROBES_VERSION, "seed": seed, **found, "outputs": outputs_json}


def parity_item(exported: Any, probes: Mapping[str, Any] | None) -> Item:
    """How far an exported model is from the numbers of the model that it was made from.

    The largest difference of an output, relative to the largest value of that output (for energies: to the
    largest difference between two frames, as their origin means nothing).

    Raises:
        ExportError: the probes are of another version.
    """
    dtype = dtype_of(exported)
    if probes is None:
        return not_applicable(PARITY, dtype, "the file carries no probes to compare with")
    if probes["version"] != PROBES_VERSION:
        raise ExportError(
            f"the probes have version {probes['version']}, this equic reads {PROBES_VERSION}",
            help="export the model again",
        )
    rule = Rule(TOLERANCES["parity"][dtype])
    return _compared(PARITY, Subject(exported, dtype), probes, "the reference kernels", rule)


def reproduction_item(subject: Subject, probes: Mapping[str, Any]) -> Item:
    """How far an imported model is from what the program that it comes from answers: as `parity_item`.

    Where that program keeps its tables in float32, 1e-5 is asked for in float64: ours are exact.
    """
    source, tables = str(probes["source"]), str(probes["precision"])
    tolerance = TOLERANCES["parity"][subject.dtype]
    rule = Rule(tolerance)
    if tables == "float32" and tolerance < _FLOAT32_TABLES:
        rule = Rule(_FLOAT32_TABLES, "the original keeps its tables in float32")
    splines = subject.plan.deploy["tabulate"]
    if splines is not None and any(step.layer == "table" for step in subject.plan.steps):
        rule = Rule(max(tolerance, 10.0 * splines["radial"]), "networks of lengths are splines here")
    return _compared(f"reproduces {source}", subject, probes, f"the answers of {source}", rule)


def _compared(name: str, subject: Subject, probes: Mapping[str, Any], origin: str, rule: Rule) -> Item:
    expected = {target: np.asarray(values) for target, values in probes["outputs"].items()}
    if subject.plan.kind == "phase_space":
        states = np.asarray(probes["states"])
        found = {"derivatives": subject.flow(states)}
        if "hamiltonian" in expected:
            found["hamiltonian"] = subject.hamiltonian(states)
        count = f"{len(states)} states"
    else:
        frames = [_read(entry, subject.plan) for entry in probes["frames"]]
        found = _answers(subject, frames)
        count = f"{len(frames)} frames"
    return _judged(name, subject, expected, found, origin, count, rule)


def _judged(
    name: str,
    subject: Subject,
    expected: Mapping[str, Array],
    found: Mapping[str, Array],
    origin: str,
    count: str,
    rule: Rule,
) -> Item:
    energies = {"hamiltonian", subject.plan.energy}
    expected = {target: values for target, values in expected.items() if target in found}
    errors = {
        target: _difference(found[target], values, is_energy=target in energies)
        for target, values in expected.items()
    }
    worst = list(errors)[int(np.argmax(list(errors.values())))]
    return judge(
        name,
        subject.dtype,
        errors[worst],
        rule,
        measure=f"largest difference of {', '.join(errors)} from {origin} over {count}; "
        f"here {worst}, relative to its largest",
    )


def kernel_item(subject: Subject, rng: np.random.Generator) -> Item:
    """How far a model on kernels, of C or of torch, is from the same model on its layers as they are written.

    Both in the same precision, on random frames; the difference as in `parity_item`. A model that runs on the
    layers themselves has nothing to compare.
    """
    if subject.call.form == "reference":
        return not_applicable(PARITY, subject.dtype, "this model runs on the reference layers themselves")
    reference = Subject(_on_layers(subject.call), subject.dtype, subject.device)
    frames = _frames(subject.plan, rng)
    expected, found = _answers(reference, frames), _answers(subject, frames)
    rule = Rule(TOLERANCES["parity"][subject.dtype])
    return _judged(PARITY, subject, expected, found, "the reference layers", f"{len(frames)} frames", rule)


def _on_layers(model: Any) -> Any:
    """A model on the layers as they are written, whatever it runs on; what is no module is left as it is."""
    from equic.runtime.export.trace import recast

    if not isinstance(model, torch.nn.Module):
        return model
    place = next(iter(model.state_dict().values())).device
    return recast(model, model.dtype, place, kernels="reference")


def _frames(plan: Any, rng: np.random.Generator) -> list[Geometry]:
    frames = random_clusters(plan, (3, 6), rng)
    return frames + random_cells(plan, rng) if plan.stress is not None else frames


def _answers(subject: Subject, frames: Sequence[Geometry]) -> dict[str, Array]:
    return dict(subject.respond(frames).values)


def _difference(found: Array, expected: Array, *, is_energy: bool) -> float:
    size = np.ptp(expected) if is_energy else np.abs(expected).max()
    return float(np.abs(found - expected).max() / max(float(size), np.finfo(float).tiny))


def _write(frame: Geometry) -> dict[str, Any]:
    return {
        "species": frame.species.tolist(),
        "positions": frame.positions.tolist(),
        "cell": frame.cell.tolist(),
        "pbc": frame.pbc.tolist(),
        "inputs": {name: one.value.tolist() for name, one in frame.inputs.items()},
    }


def _read(entry: Mapping[str, Any], plan: Any) -> Geometry:
    inputs = {name: np.asarray(value, dtype=float) for name, value in entry.get("inputs", {}).items()}
    return Geometry(
        np.asarray(entry["species"], dtype=np.int64),
        np.asarray(entry["positions"], dtype=float),
        np.asarray(entry["cell"], dtype=float),
        np.asarray(entry["pbc"], dtype=bool),
        given_inputs(inputs, plan),
    )
