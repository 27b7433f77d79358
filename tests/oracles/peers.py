"""What the tests of all peers share: their golden files, models with mapped weights, and what is compared."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.build import build_module
from equic.runtime.certify import Subject, reproduction_item
from equic.runtime.importing import answer_probes
from equic.runtime.model import Model
from equic.runtime.neighbors import model_inputs
from equic.runtime.plan import Plan
from torch import Tensor
from torch.func import functional_call

Arrays = dict[str, np.ndarray]


class Golden:
    """The golden file of one peer: several models, and structures of each or of all of them."""

    def __init__(self, program: str) -> None:
        self.arrays = dict(np.load(Path(__file__).parent / program / "golden.npz", allow_pickle=False))
        self.names = sorted({key.split("/")[1] for key in self.arrays if key.startswith("models/")})

    def peer(self, name: str) -> Arrays:
        """One model as its dump holds it: weights, structures, answers."""
        prefix = f"models/{name}/"
        own = {
            key.removeprefix(prefix): value for key, value in self.arrays.items() if key.startswith(prefix)
        }
        return own | {key: value for key, value in self.arrays.items() if key.startswith("structures/")}

    def changed(self, name: str, **changes: Any) -> Arrays:
        """The same with other settings."""
        arrays = self.peer(name)
        arrays["config"] = np.array(json.dumps(json.loads(str(arrays["config"])) | changes))
        return arrays


def structures(arrays: Arrays) -> list[Atoms]:
    """The structures that the peer has answered for."""
    return [
        Atoms(*(arrays[f"structures/{i}/{key}"] for key in ("numbers", "positions")),
              cell=arrays[f"structures/{i}/cell"], pbc=arrays[f"structures/{i}/pbc"])
        for i in range(sum(key.endswith("/numbers") for key in arrays))
    ]  # fmt: skip


def compiled_model(text: str, kernels: str = "auto") -> Model:
    """The model of a spec text in float64, with fresh weights."""
    report = Report()
    done = compile_spec(source_from_text(text, report=report), report)
    report.raise_if_errors()
    return build_module(Plan.from_json(done.plan), dtype=torch.float64, kernels=kernels)


def assert_same_answers(model: Model, arrays: Arrays, source: str) -> None:
    """Energies, forces and stress are the peer's, to rounding."""
    item = reproduction_item(Subject(model, "float64"), answer_probes(arrays, model.plan, source=source))
    assert "energy, forces, stress" in item.measure
    assert item.value < 1e-11, item


def gradients(
    model: Model,
    arrays: Arrays,
    weights: Callable[[Arrays, Model, Mapping[str, Tensor]], dict[str, Tensor]],
) -> dict[str, Tensor | None]:
    """By each of the peer's weights, of sum a E + sum b F through our model: second derivatives too.

    `weights` maps the peer's parameters to those of the model; None of a weight that has no say.
    """
    state = {
        key.removeprefix("state/"): torch.from_numpy(value).requires_grad_()
        for key, value in arrays.items()
        if key.startswith("state/")
    }
    inputs = model_inputs(structures(arrays), model.plan)
    outputs = functional_call(model, weights(arrays, model, state), (inputs,), {"create_graph": True})
    loss = sum((outputs[key] * torch.from_numpy(arrays[f"loss/{key}"])).sum() for key in ("energy", "forces"))
    return dict(zip(state, torch.autograd.grad(loss, list(state.values()), allow_unused=True), strict=True))


def assert_same_gradients(found: Mapping[str, Tensor | None], arrays: Arrays) -> None:
    """To 1e-10 of the largest number in each weight's gradient; at least six of them have one."""
    compared = 0
    for weight, ours in found.items():
        theirs = torch.from_numpy(arrays[f"gradients/{weight}"])
        if ours is None:
            assert not theirs.any(), weight
            continue
        scale = float(theirs.abs().max())
        assert float((ours - theirs).abs().max()) <= 1e-10 * scale, weight
        compared += 1
    assert compared >= 6
