"""The peer of speed.py, run by the Python of an environment with mace-torch.

`build` makes a model and writes its weights; the protocol is that of `serving.py`.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from serving import serve

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/oracles/mace"))


def build(command: Mapping[str, Any]) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
    """The steps of one model on one batch, and what is answered.

    Weights are drawn in float64, and written as such before the model is cast to the dtype asked for. The growth of
    the process is that of the first `calls` of what `grows`.
    """
    import peak
    import peer
    import torch
    from ase import Atoms

    torch.set_num_threads(command["threads"])
    dtype = getattr(torch, command["dtype"])
    model = peer.build(**command["settings"])
    np.savez(command["weights"], **peer.export(model))
    model = model.to(dtype)
    torch.set_default_dtype(dtype)
    frames = [Atoms(**one) for one in command["structures"]]
    data = peer.batch(model, frames)
    by_energy = torch.tensor(command["by_energy"], dtype=dtype)
    by_forces = torch.tensor(command["by_forces"], dtype=dtype)

    def predict() -> Any:
        return model(data, training=False, compute_force=True)

    def train() -> Any:
        model.zero_grad(set_to_none=True)
        found = model(data, training=True, compute_force=True)
        loss = (found["energy"] * by_energy).sum() + (found["forces"] * by_forces).sum()
        loss.backward()
        return loss

    steps = {"energy+forces": predict, "training step": train}
    before = peak.mark()
    for _ in range(command.get("calls", 1)):
        steps[command.get("grows", "energy+forces")]()
    growth = peak.growth(before)
    found = predict()
    answer = {
        "growth": growth,
        "energy": found["interaction_energy"].double().tolist(),
        "forces": found["forces"].double().tolist(),
        "edges": int(data["edge_index"].shape[1]),
    }
    return steps, answer


if __name__ == "__main__":
    serve(build)
