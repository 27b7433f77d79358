"""The peer of speed_nequip.py, run by the Python of an environment with nequip, or with nequip-allegro.

`build` makes a model and writes its weights, compiles it with AOTInductor as `nequip-compile` does unless the
folder `cache` has it already (inductor fixes the number of threads, so that each has its own), and answers with
energies and forces of both forms; the protocol is that of `serving.py`.
"""

import hashlib
import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving import Steps, serve

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "runtime/importing/peers"))

OUTPUTS = ("total_energy", "forces")


def build(command: Mapping[str, Any]) -> tuple[Steps, dict[str, Any]]:
    """The steps of one model on one batch, and what is answered; with `calls` how much the process grows by in so many
    steps of training, and nothing is compiled."""
    import peak
    import torch

    torch.set_num_threads(command["threads"])
    data = batch_of(command)
    answer: dict[str, Any] = {"edges": int(data["edge_index"].shape[1])}
    model = model_of(command).eval()
    for value in model.parameters():
        value.requires_grad_(False)
    trained = model_of(command).train()
    by_energy, by_forces = (torch.tensor(command[name]) for name in ("by_energy", "by_forces"))
    runner, fields = (None, []) if "calls" in command else load(command)

    def compiled() -> Any:
        return dict(zip(OUTPUTS, runner([data[name] for name in fields]), strict=True))

    def eager() -> Any:
        return model(dict(data))

    def train() -> Any:
        trained.zero_grad(set_to_none=True)
        found = trained(dict(data))
        loss = (found["total_energy"].ravel() * by_energy).sum() + (found["forces"] * by_forces).sum()
        loss.backward()
        return loss

    if "calls" in command:
        before = peak.mark()
        for _ in range(command["calls"]):
            train()
        return {"training step": train}, {**answer, "growth": peak.growth(before)}
    for form, step in (("compiled", compiled), ("eager", eager)):
        found = step()
        answer[form] = {
            "energy": found["total_energy"].detach().double().ravel().tolist(),
            "forces": found["forces"].detach().double().tolist(),
        }
    return {"compiled": compiled, "eager": eager, "training step": train}, answer


def model_of(command: Mapping[str, Any]) -> Any:
    """A model with the weights of the seed, drawn in float64 whatever the dtype."""
    import numpy as np
    import torch
    from nequip.utils.global_state import set_global_state
    from nequip_dump import export

    logging.disable(logging.WARNING)
    set_global_state()
    torch.set_default_dtype(torch.float64)
    settings = command["settings"]
    if command["package"] == "nequip-allegro":
        from allegro.model import AllegroModel as Model
    else:
        from nequip.model import NequIPGNNModel as Model
    drawn = Model(**settings, model_dtype="float64")
    torch.set_default_dtype(torch.float64)
    np.savez(command["weights"], **export(drawn))
    if command["dtype"] == "float64":
        return drawn
    model = Model(**settings, model_dtype=command["dtype"])
    model.load_state_dict(drawn.state_dict())
    torch.set_default_dtype(torch.float64)
    return model


def batch_of(command: Mapping[str, Any]) -> dict[str, Any]:
    """The structures, neighbours found. Molecules lie in large cells, which compiled models ask for."""
    import torch
    from ase import Atoms
    from nequip.data import AtomicDataDict, compute_neighborlist_, from_ase
    from nequip.utils.global_state import set_global_state

    set_global_state()
    frames = []
    for one in command["structures"]:
        atoms = Atoms(**one)
        if not atoms.pbc.any():
            atoms.cell, atoms.pbc = [30.0, 30.0, 30.0], True
        data = from_ase(atoms)
        names = command["settings"]["type_names"]
        data["atom_types"] = torch.tensor([names.index(symbol) for symbol in atoms.get_chemical_symbols()])
        frames.append(compute_neighborlist_(data, r_max=command["settings"]["r_max"]))
    return frames[0] if len(frames) == 1 else AtomicDataDict.batched_from_list(frames)


def load(command: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """The compiled model, and the names of what it takes."""
    import torch
    from nequip.scripts._compile_utils import COMPILE_TARGET_DICT

    about = {name: command[name] for name in ("package", "settings", "dtype", "threads")}
    about["target"] = "ase" if len(command["structures"]) == 1 else "batch"
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    file = Path(command["cache"]) / f"{name}.nequip.pt2"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        # in a process of its own, so that the first run is like later ones
        asked = json.dumps({**command, "target": about["target"], "file": str(file)})
        subprocess.run(
            [sys.executable, "-W", "ignore", __file__, "compile"], input=asked, text=True, check=True
        )
    return torch._inductor.aoti_load_package(str(file)), list(COMPILE_TARGET_DICT[about["target"]]["input"])


def compile_model(command: Mapping[str, Any]) -> None:
    """Write the package."""
    import torch
    from nequip.scripts._compile_utils import COMPILE_TARGET_DICT
    from nequip.utils.aot import aot_export_model
    from torch.export.dynamic_shapes import Dim

    torch.set_num_threads(command["threads"])
    target = COMPILE_TARGET_DICT[command["target"]]
    dims = {part: Dim(f"num_{part}s", min=2, max=torch.inf) for part in ("graph", "node", "edge")}
    part = Path(command["file"]).with_suffix(".part.nequip.pt2")
    aot_export_model(
        model=model_of(command),
        device="cpu",
        input_fields=target["input"],
        output_fields=list(OUTPUTS),
        data=target["data_settings"](batch_of(command)),
        batch_map=target["batch_map_settings"](dims),
        output_path=str(part),
    )
    part.rename(command["file"])


if __name__ == "__main__":
    if sys.argv[1:] == ["compile"]:
        compile_model(json.load(sys.stdin))
    else:
        serve(build)
