"""The peer of speed_symmetrix.py that is symmetrix itself, run by the Python of an environment with it and mace-torch.

`build` makes a model (once for each folder of `cache`) and answers with energies and forces; the protocol is that of
`serving.py`. Its class without Kokkos, which knows float64 and one thread, is the faster where it serves; Kokkos runs
all else.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from serving import Steps, serve
from symmetrix_model import written
from symmetrix_worker import MOVE, merged


def build(command: Mapping[str, Any]) -> tuple[Steps, dict[str, Any]]:
    """The steps of one model on one structure, and what is answered."""
    from ase import Atoms
    from matscipy.neighbours import neighbour_list
    from symmetrix import Symmetrix

    model, weights = written(command)
    atoms = merged([Atoms(**one) for one in command["structures"]])
    plain = command["dtype"] == "float64" and command["threads"] == 1
    calc = Symmetrix(model, dtype=command["dtype"], use_kokkos=not plain)
    calc.calculate(atoms)

    # what the calculator hands to the library
    receivers, senders, distances, vectors = neighbour_list("ijdD", atoms, calc.cutoff)
    species = np.searchsorted(calc.evaluator.atomic_numbers, atoms.numbers).astype(np.int32)
    counts = np.bincount(receivers, minlength=len(atoms)).astype(np.int32)
    given = (
        len(atoms),
        species,
        counts,
        senders.astype(np.int32),
        species[senders],
        vectors.ravel(),
        distances,
    )
    moved = atoms.copy()
    moved.calc = calc
    rng = np.random.default_rng(0)

    def predict() -> None:
        calc.evaluator.compute_node_energies_forces(*given)

    def move() -> None:
        moved.positions += rng.normal(scale=MOVE, size=moved.positions.shape)
        moved.get_forces()

    # of the very call that is timed
    predict()
    answer = {
        "energy": [float(np.sum(calc.evaluator.node_energies))],
        "forces": calc.results["forces"].tolist(),
        "edges": len(senders),
        "weights": str(weights),
    }
    return {"energy+forces": predict, "md step": move}, answer


if __name__ == "__main__":
    serve(build)
