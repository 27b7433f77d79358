"""Writes a MACE model with random weights for symmetrix_worker.py, as arrays and as symmetrix-xl reads it.

`python symmetrix_model.py '{"settings": ..., "weights": FILE, "model": FILE}'`, in a process of its own: torch,
which the engine does without, shall not count in its memory.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/oracles/mace"))


def main() -> None:
    """Write both files."""
    import peer
    import torch
    from symmetrix.extract_mace_data import extract_mace_data

    asked = json.loads(sys.argv[1])
    # its converter takes products with every coupling, not the smaller basis of newer mace-torch
    model = peer.build(**asked["settings"], use_reduced_cg=False)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "peer.model"
        torch.save(model, file)
        made = extract_mace_data(str(file))
    np.savez(asked["weights"], **peer.export(model))
    Path(asked["model"]).write_text(json.dumps(made))


if __name__ == "__main__":
    main()
