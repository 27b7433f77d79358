"""The peer of speed.py, run by the Python of an environment with mace-torch.

Reads one JSON command a line, answers with one JSON line: `build` makes a model and writes its weights,
`step` runs one step and answers with its seconds, timed here so that the pipe costs the peer nothing.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/oracles/mace"))


def build(command: Mapping[str, Any]) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
    """The steps of one model on one batch, and what is answered.

    Weights are drawn in float64, and written as such before the model is cast to the dtype asked for.
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

    before = peak.mark()
    found = predict()
    answer = {
        "growth": peak.growth(before),
        "energy": found["interaction_energy"].double().tolist(),
        "forces": found["forces"].double().tolist(),
        "edges": int(data["edge_index"].shape[1]),
    }
    return {"energy+forces": predict, "training step": train}, answer


def main() -> None:
    """Serve until the input ends."""
    # what libraries print goes to stderr: stdout is for answers
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    steps: dict[str, Callable[[], Any]] = {}
    threads = 1
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "build":
            steps, answer = build(command)
            threads = command["threads"]
        elif command["do"] == "step":
            clock = time.process_time if threads == 1 else time.perf_counter
            began = clock()
            steps[command["name"]]()
            answer = {"seconds": clock() - began}
        else:
            raise ValueError(f"unknown command {command['do']}")
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
