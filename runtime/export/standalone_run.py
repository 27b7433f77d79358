"""Load and evaluate the model beside this file. Needs torch and safetensors, nothing else.

    from run import load, evaluate
    model = load()
    evaluate(model, ["O", "H", "H"], [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]])["forces"]

`python run.py` evaluates the numbers that came with the model and says how well they agree.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

FOLDER = Path(__file__).resolve().parent


def metadata() -> dict:
    """What came with the model: plan, units, certificate, hashes, and numbers to compare with."""
    return json.loads((FOLDER / "metadata.json").read_text(encoding="utf-8"))


def load(dtype: torch.dtype | None = None, device: str = "cpu") -> torch.nn.Module:
    """The model with its weights, in the dtype that it was exported in or another one.

    `model(inputs)` takes and gives dicts of tensors; model.py says which.
    """
    sys.path.insert(0, str(FOLDER))
    try:
        from model import Model
    finally:
        sys.path.remove(str(FOLDER))
    made = Model().to(dtype or getattr(torch, metadata()["dtype"]))
    made.load_state_dict(load_file(FOLDER / "weights.safetensors"))
    for parameter in made.parameters():
        parameter.requires_grad_(False)
    return made.eval().to(device)


def neighbors(positions: Tensor, cell: Tensor, pbc: list[bool], cutoff: float) -> tuple[Tensor, Tensor]:
    """All ordered pairs closer than the cutoff, periodic images included: edges [2, E], shifts [E, 3].

        v = r_i - r_j - S cell,  0 < |v| < cutoff;  edges are (source j; target i), shifts S

    Every pair of every image is tried: for a few hundred atoms. For more, bring edges of your own.
    """
    periodic = [axis for axis in range(3) if pbc[axis]]
    lattice = cell[periodic]
    inverse = torch.linalg.pinv(lattice)  # [3, k]; its columns say how close planes of cells are
    home = torch.zeros(len(positions), 3, dtype=positions.dtype)
    home[:, periodic] = torch.floor(positions @ inverse)
    wrapped = positions - home @ cell
    reach = [0, 0, 0]
    for axis, column in zip(periodic, inverse.T, strict=True):
        reach[axis] = int(cutoff * float(column.norm()) + 1.0)
    images = torch.cartesian_prod(*[torch.arange(-n, n + 1, dtype=positions.dtype) for n in reach])
    found = []
    for image in images:
        v = wrapped[:, None] - wrapped[None] - image @ cell
        near = (v.square().sum(-1) < cutoff**2) & (v != 0.0).any(-1)
        i, j = near.nonzero().T
        found.append((j, i, image + home[i] - home[j]))
    source, target, shifts = (torch.cat(part) for part in zip(*found, strict=True))
    order = target * len(positions) + source
    order = torch.argsort(order, stable=True)
    return torch.stack([source, target])[:, order], shifts[order]


def inputs_of(symbols, positions, cell=None, pbc=None, **known) -> dict[str, Tensor]:
    """One structure as the inputs of the model: symbols [N], positions [N, 3] in Å, cell [3, 3] in Å.

    `known` are the inputs that the model declares beside these, [1, dim] of the structure or [N, dim] of its atoms.
    """
    from model import CUTOFF, SPECIES

    # Python's numbers are float64, and would be float32 without being told
    positions = torch.as_tensor(positions, dtype=torch.float64)
    cell = (
        torch.zeros(3, 3, dtype=torch.float64) if cell is None else torch.as_tensor(cell, dtype=torch.float64)
    )
    repeats = [bool(cell[axis].any()) for axis in range(3)] if pbc is None else [bool(one) for one in pbc]
    cell = cell if any(repeats) else torch.zeros(3, 3, dtype=torch.float64)
    edges, shifts = neighbors(positions, cell, repeats, CUTOFF)
    return {
        "positions": positions,
        "species": torch.tensor([SPECIES.index(symbol) for symbol in symbols]),
        "cell": cell[None],
        "system": torch.zeros(len(positions), dtype=torch.int64),
        "edges": edges,
        "shifts": shifts,
        **{name: torch.as_tensor(value, dtype=torch.float64) for name, value in known.items()},
    }


def evaluate(model: torch.nn.Module, symbols, positions, cell=None, pbc=None, **known) -> dict[str, Tensor]:
    """The outputs for one structure of atoms: energy [1] eV, forces [N, 3] eV/Å, stress [1, 3, 3] eV/Å^3, ...

    Without `pbc` the directions with a lattice vector are periodic. The stress means something only where all
    three are.
    """
    outputs = model(inputs_of(symbols, positions, cell, pbc, **known))
    return {name: value.detach() for name, value in outputs.items()}


def agreement() -> dict[str, float]:
    """Per output, the largest difference from the numbers that came with the model, of the largest of them."""
    model, papers = load(), metadata()["probes"]
    if "states" in papers:
        states = torch.tensor(papers["states"], dtype=torch.float64)
        found = {name: [value.detach()] for name, value in model({"state": states}).items()}
    else:
        from model import SPECIES

        found = {}
        for frame in papers["frames"]:
            symbols = [SPECIES[kind] for kind in frame["species"]]
            outputs = evaluate(
                model, symbols, frame["positions"], frame["cell"], frame["pbc"], **frame["inputs"]
            )
            for name, value in outputs.items():
                found.setdefault(name, []).append(value)
    worst = {}
    for name, values in papers["outputs"].items():
        expected = torch.tensor(values, dtype=torch.float64)
        scale = float(expected.abs().max()) or 1.0
        worst[name] = float((torch.cat(found[name]).double() - expected).abs().max()) / scale
    return worst


if __name__ == "__main__":
    for output, difference in agreement().items():
        print(f"{output}: differs by {difference:.1e} of its largest number")
