"""Predictions for many structures or states at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from .build import Model
from .data import Frame, frame_from_atoms
from .data.arrays import save_arrays
from .data.paths import existing_file
from .data.points import read_points
from .data.structures import read_structures
from .device import pick_device
from .errors import DataError
from .neighbors import model_inputs
from .plan import Plan

if TYPE_CHECKING:
    from ase import Atoms

    from .export import Exported

Prediction = dict[str, NDArray[np.float64]]

# A batch ends at this many edges even when it has room for more structures: memory goes with the edges.
EDGES_PER_BATCH = 200_000
# Structures of a file that are read, predicted and written at a time.
SLAB = 512
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))  # ASE's order: xx, yy, zz, yz, xz, xy


def predict(
    model: "Model | Exported", structures: "Sequence[Atoms | Frame]", *, batch: int = 32, device: str = "auto"
) -> list[Prediction]:
    """What the model says of each structure, in order.

    Shapes:    energy [], forces [N, 3], stress [3, 3], node_energy [N], matrices [3, 3], others [dim]; float64
    Units:     eV, eV/Å, eV/Å^3, the plan's
    A stress is given only for structures that are periodic in all three directions. A model is left on the device
    that it came on; an exported one runs on the device that it was compiled for.

    Raises:
        DataError: the model is not one of atoms, or a structure has an element that it does not know.
    """
    plan = model.plan
    if not plan.is_points:
        raise DataError(
            f"`{plan.name}` is a model of states, not of atoms",
            help="call predict_states with an array of states",
        )
    if batch < 1:
        raise ValueError(f"a batch of {batch}")
    predictions: list[Prediction] = []
    with _on_device(model, device) as where:
        for frames in _batches(_frames(structures, plan), batch):
            outputs = {
                name: value.cpu().double().numpy()
                for name, value in model(model_inputs(frames, plan, where)).items()
            }
            predictions.extend(_split(outputs, frames, plan))
    return predictions


def predict_states(
    model: "Model | Exported", states: NDArray[np.float64], *, batch: int = 4096, device: str = "auto"
) -> Prediction:
    """What the model says of states z = (q, p): `derivatives` [M, D], and `hamiltonian` [M] where there is one.

    Raises:
        DataError: the model is one of atoms, or the states have another dimension.
    """
    plan = model.plan
    if plan.kind != "phase_space":
        raise DataError(
            f"`{plan.name}` is a model of atoms, not of states", help="call predict with structures"
        )
    states = np.asarray(states, dtype=np.float64)
    if states.ndim != 2 or states.shape[1] != plan.system["dim"]:
        raise DataError(f"states have shape {list(states.shape)}, expected [states, {plan.system['dim']}]")
    parts: list[Prediction] = []
    with _on_device(model, device) as where:
        for start in range(0, max(1, len(states)), batch):
            rows = torch.from_numpy(states[start : start + batch]).to(where)
            parts.append({name: value.cpu().numpy() for name, value in model({"state": rows}).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def annotate(atoms: "Atoms", prediction: Mapping[str, NDArray[np.float64]], plan: Plan) -> "Atoms":
    """A copy of `atoms` that carries its prediction where ASE keeps results, ready for `ase.io.write`.

    Energy, forces, stress (Voigt order xx, yy, zz, yz, xz, xy) and energies of atoms become those of a
    calculator; other targets go into `arrays` (one row per atom: a matrix is 9 numbers) or `info`.
    """
    from ase.calculators.singlepoint import SinglePointCalculator

    annotated: Atoms = atoms.copy()
    results: dict[str, float | NDArray[np.float64]] = {}
    for name, value in prediction.items():
        if name == plan.energy:
            results["energy"] = float(value)
        elif name == plan.forces:
            results["forces"] = value
        elif name == plan.stress:
            results["stress"] = np.array([(value[i, j] + value[j, i]) / 2 for i, j in _VOIGT])
        elif name == f"node_{plan.energy}":
            results["energies"] = value
        elif plan.outputs[name].index == "node":
            annotated.arrays[name] = value.reshape(len(atoms), -1) if value.ndim > 2 else value
        else:
            annotated.info[name] = float(value) if value.ndim == 0 else value
    annotated.calc = SinglePointCalculator(annotated, **results)
    return annotated


def write_structures(
    model: Any, data: Path, out: Path, batch: int, *, progress: Callable[[int], None] | None = None
) -> int:
    """Predict every structure of a file, and write them with their targets as extended XYZ; how many they are.

    No more than `SLAB` structures are in memory. `out` is there only when all of it is.

    Args:
        progress: called with the number of structures that are written.

    Raises:
        DataError: a file that cannot be read, or a structure that the model does not fit, by file and number.
    """
    import ase.io

    path, count = existing_file(data), 0
    structures = read_structures(path)
    part = out.with_name(out.name + ".part")
    try:
        with part.open("w") as file:
            while slab := list(islice(structures, SLAB)):
                frames = [
                    frame_from_atoms(atoms, model.plan, source=f"{path.name}:frame {count + k}")
                    for k, atoms in enumerate(slab)
                ]
                results = model.predict(frames, batch=batch)
                written = [annotate(a, one, model.plan) for a, one in zip(slab, results, strict=True)]
                ase.io.write(file, written, format="extxyz")
                count += len(slab)
                if progress is not None:
                    progress(count)
        if count == 0:
            raise DataError(f"{path} holds no structures")
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return count


def write_points(model: Any, data: Path, out: Path, batch: int) -> None:
    """Predict every system of a file of particles, and write the targets as arrays, in the file's layout.

    Values per system are [S, ...]; those per particle [S, N, ...], or one system after another, with `counts`.

    Raises:
        DataError: the file does not fit the model.
    """
    frames = read_points(model.plan, {"path": data, "labels": {}})
    found = model.predict(frames, batch=batch)
    counts = np.array([len(frame) for frame in frames])
    alike = bool((counts == counts[0]).all())
    arrays = {} if alike else {"counts": counts}
    for name in found[0]:
        values = [one[name] for one in found]
        per_node = name not in model.plan.outputs or model.plan.outputs[name].index == "node"
        arrays[name] = np.concatenate(values) if per_node and not alike else np.stack(values)
    save_arrays(out, arrays)


def _frames(structures: "Sequence[Atoms | Frame]", plan: Plan) -> Iterator[Frame]:
    for number, item in enumerate(structures):
        yield item if isinstance(item, Frame) else frame_from_atoms(item, plan, source=f"structure {number}")


def _batches(frames: Iterator[Frame], batch: int) -> Iterator[list[Frame]]:
    held: list[Frame] = []
    edges = 0
    for frame in frames:
        more = frame.edges.shape[1]
        if held and (len(held) == batch or edges + more > EDGES_PER_BATCH):
            yield held
            held, edges = [], 0
        held.append(frame)
        edges += more
    if held:
        yield held


def _split(
    outputs: Mapping[str, NDArray[np.float64]], frames: Sequence[Frame], plan: Plan
) -> Iterator[Prediction]:
    """The rows of each structure, copied: a view would keep the whole batch alive."""
    index = {name: output.index for name, output in plan.outputs.items()}
    stress = plan.derivative("strain")
    start = 0
    for number, frame in enumerate(frames):
        end = start + len(frame)
        prediction = {}
        for name, value in outputs.items():
            if name == stress and not frame.pbc.all():
                continue
            # what a model gives beside its targets are the terms of a sum over atoms
            per_atom = index.get(name, "node") == "node"
            prediction[name] = (value[start:end] if per_atom else value[number]).copy()
        start = end
        yield prediction


@contextmanager
def _on_device(model: "Model | Exported", device: str) -> Iterator[torch.device]:
    """Inside, the model is on `device` and evaluates; afterwards it is as it was."""
    if not isinstance(model, Model):
        yield model.device
        return
    before = next((p.device for p in model.parameters()), torch.device("cpu"))
    where, training = pick_device(device), model.training
    model.to(where).eval()
    try:
        with torch.no_grad():
            yield where
    finally:
        model.to(before).train(training)
