"""The peer of speed_symmetrix.py, run by the Python of an environment with symmetrix-xl and mace-torch.

`build` makes a model (once for each folder of `cache`, which keeps the engine's generated code too) and answers
with energies and forces; the protocol is that of `serving.py`. A batch is one structure without periodicity whose
molecules are 100 Å apart: the engine has no other.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import peak
from serving import Steps, serve
from symmetrix_model import written

APART = 100.0
# Å; as small as it takes to keep the list between calls, so that no pair beyond the cutoff is in it
SKIN = 1e-6
# Å; how far atoms go between two steps of `md step`, as in molecular dynamics
MOVE = 0.005


def build(command: Mapping[str, Any]) -> tuple[Steps, dict[str, Any]]:
    """The steps of one model on one batch, and what is answered."""
    from ase import Atoms
    from symmetrix import Symmetrix

    model, weights = written(command)
    frames = [Atoms(**one) for one in command["structures"]]
    atoms = merged(frames)

    def calculator(**options: Any) -> Any:
        return Symmetrix(model, dtype=command["dtype"], execution_profile=command["profile"], **options)

    calc, moving = calculator(neighbor_skin=SKIN), calculator()
    rng = np.random.default_rng(0)
    moved = atoms.copy()
    moved.calc = moving

    def predict() -> None:
        calc.calculate(atoms, ["energy", "forces"])
        if calc.neighbor_cache_build_count != 1:
            raise RuntimeError("the engine searched neighbours again: its time would count them")

    def move() -> None:
        moved.positions += rng.normal(scale=MOVE, size=moved.positions.shape)
        moved.get_forces()

    before = peak.mark()
    predict()
    growth = peak.growth(before)
    counts = np.cumsum([len(one) for one in frames])[:-1]
    answer = {
        "growth": growth,
        "energy": [float(part.sum()) for part in np.split(calc.results["energies"], counts)],
        "forces": calc.results["forces"].tolist(),
        # no public name for it; the count is compared with ours
        "edges": len(calc._neighbor_cache.sources),
        "weights": str(weights),
    }
    return {"energy+forces": predict, "md step": move}, answer


def merged(frames: list[Any]) -> Any:
    """All structures as one."""
    whole = frames[0].copy()
    for number, atoms in enumerate(frames[1:], start=1):
        other = atoms.copy()
        other.positions[:, 0] += number * APART
        whole += other
    if not whole.pbc.any():
        # matscipy, which ASE's lists give way to where it is installed, divides by the cell's volume
        whole.cell = np.ptp(whole.positions, axis=0) + 20.0
    elif len(frames) > 1:
        raise ValueError("a batch of periodic structures is no structure")
    return whole


if __name__ == "__main__":
    serve(build)
