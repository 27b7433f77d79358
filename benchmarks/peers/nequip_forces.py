"""Forces of frames by a checkpoint of nequip, run by the Python of an environment with nequip.

`python nequip_forces.py CHECKPOINT FRAMES OUT`: the averaged weights, which nequip takes of a checkpoint, frame by
frame through its calculator; OUT is an npz file with `forces` [frame, atom, 3] in eV/Å.
"""

import sys

import ase.io
import numpy as np
import torch
from nequip.integrations.ase import NequIPCalculator


def main() -> None:
    """As the arguments say."""
    checkpoint, frames, out = sys.argv[1:]
    torch.set_num_threads(1)
    kinds = {symbol: symbol for symbol in ("H", "C", "O")}
    calculator = NequIPCalculator._from_saved_model(checkpoint, chemical_species_to_atom_type_map=kinds)
    found = []
    for atoms in ase.io.read(frames, index=":"):
        atoms.calc = calculator
        found.append(atoms.get_forces())
    np.savez(out, forces=np.stack(found))


if __name__ == "__main__":
    main()
