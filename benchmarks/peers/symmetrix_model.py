"""Writes a MACE model with random weights for the workers of symmetrix and symmetrix-xl, as each of them reads it.

`python symmetrix_model.py '{"settings": ..., "weights": FILE, "model": FILE}'`, in a process of its own: torch,
which the engines do without, shall not count in their memory.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/oracles/mace"))


def written(command: Mapping[str, Any]) -> tuple[Path, Path]:
    """The files of the model that a command asks for, and of its weights, made unless `cache` has them."""
    name = hashlib.sha256(json.dumps(command["settings"], sort_keys=True).encode()).hexdigest()[:16]
    folder = Path(command["cache"]) / name
    weights, model = folder / "weights.npz", folder / "model.json"
    if not model.exists():
        folder.mkdir(parents=True, exist_ok=True)
        asked = {"settings": command["settings"], "weights": str(weights), "model": str(model)}
        subprocess.run([sys.executable, "-W", "ignore", __file__, json.dumps(asked)], check=True)
    return model, weights


def main() -> None:
    """Write both files."""
    import peer
    import torch
    from symmetrix.extract_mace_data import extract_mace_data

    asked = json.loads(sys.argv[1])
    # their converters take products with every coupling, not the smaller basis of newer mace-torch
    model = peer.build(**asked["settings"], use_reduced_cg=False)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "peer.model"
        torch.save(model, file)
        made = extract_mace_data(str(file), asked["settings"]["numbers"])
    np.savez(asked["weights"], **peer.export(model))
    Path(asked["model"]).write_text(json.dumps(made))


if __name__ == "__main__":
    main()
