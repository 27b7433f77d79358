"""The whole file: what it computes first, then the layers, then how they are set up, then their tables."""

from __future__ import annotations

import json
import textwrap

import torch

from ..build import build_module
from ..model import Model, Statistics, module_name, statistic_shapes
from ..plan import Plan
from . import pieces
from .definitions import Definitions
from .forward_text import ForwardText
from .frozen import Freezer

_SHAPES = {
    "positions": "[node, 3] Å, float64",
    "species": "[node], their numbers in SPECIES",
    "cell": "[system, 3, 3] Å, float64; rows are lattice vectors, zeros without a lattice",
    "system": "[node], the system of each node",
    "edges": "[2, edge], source and target; all pairs closer than CUTOFF, both ways",
    "shifts": "[edge, 3], the lattice image of the target, in lattice vectors",
}


def emit_torch(plan: Plan) -> str:
    """The plan as the source of a Python module with one class `Model`, which needs torch and nothing else.

    Its parameters and statistics have the names of ours, so that `Model().load_state_dict` takes the weights
    of an artifact; they are zeros before. Its `forward` takes and gives what `equic.runtime.model.Model` does,
    with the same numbers.

    Raises:
        ArtifactError: a layer holds something that has no text form.

    Example:
        >>> from equic.runtime.testing.plans import hnn_plan
        >>> "class Model(nn.Module):" in emit_torch(hnn_plan(dim=2, separable=True))
        True
    """
    model = build_module(plan, dtype=torch.float64, kernels="reference")
    definitions = Definitions()
    definitions.imports |= {("torch", None), ("torch:nn", None), ("torch:Tensor", None)}
    freezer = Freezer(definitions)
    body = ForwardText(model)
    forward = body.text()
    steps = _steps(model, freezer)
    for name in ("make", *body.helpers):
        definitions.name_of(getattr(pieces, name))
    if freezer.tables:
        definitions.name_of(pieces.table)
    shapes = freezer.expression(statistic_shapes(plan), 8)
    statistics = f"{definitions.name_of(Statistics)}({shapes})"
    definitions.read |= body.borrowed
    layers = [text for text in definitions.texts() if not text.startswith("TABLES")]
    parts = [
        _docstring(plan, model),
        "from __future__ import annotations",
        "\n".join(definitions.import_lines()).strip(),
        *_constants(plan),
        _class(forward, statistics),
        *layers,
        "\n".join(steps),
    ]
    if freezer.tables:
        parts.append("\n".join(freezer.table_lines()))
    return "\n\n\n".join(parts) + "\n"


def _steps(model: Model, freezer: Freezer) -> list[str]:
    lines = [
        "def make_steps() -> nn.ModuleDict:",
        '    """The layer of every step; weights are zeros until they are loaded."""',
    ]
    lines.append("    steps = nn.ModuleDict()")
    for step in model.plan.steps:
        lines.append(
            f'    steps["{module_name(step.name)}"] = {freezer.expression(model.layer(step.name), 4)}'
        )
    return [*lines, "    return steps"]


def _class(forward: list[str], statistics: str) -> str:
    lines = [
        "class Model(nn.Module):",
        '    """What this file computes. Load weights by `load_state_dict`; cast by `.to(dtype)`."""',
        "",
        "    def __init__(self) -> None:",
        "        super().__init__()",
        f"        self.statistics = {statistics}",
        "        self.steps = make_steps()",
        "",
        "    @torch.inference_mode(False)",
        "    @torch.enable_grad()",
        "    def forward(self, inputs: dict[str, Tensor], create_graph: bool = False) -> dict[str, Tensor]:",
        '        """The outputs from the inputs; with `create_graph` they can be differentiated by the weights."""',
        *(f"        {line}" if line else "" for line in forward),
    ]
    return "\n".join(lines)


def _constants(plan: Plan) -> list[str]:
    if "species" not in plan.system:
        return []
    species = json.dumps(list(plan.system["species"]))
    return [f"SPECIES = {species}\nCUTOFF = {plan.system['cutoff']!r}  # Å"]


def _docstring(plan: Plan, model: Model) -> str:
    """What the file is, what goes in and what comes out."""
    lines = [f'"""{plan.name}: a {plan.architecture} model, written by equic.', ""]
    lines += ["Inputs, a dict:"]
    shapes = _SHAPES | {"state": f"[batch, {plan.system.get('dim')}]"}
    lines += [f"    {name}: {shapes.get(name, '')}".rstrip(": ") for name in sorted(model._needs)]
    lines += ["", "Outputs, a dict:"]
    for name, output in plan.outputs.items():
        unit = "" if output.unit == "1" else f" [{output.unit}]"
        lines.append(f"    {name}: on every {output.index}, {output.rep}{unit}")
    claims = ", ".join(f"{claim.factor} {claim.verdict}" for claim in plan.claims)
    if claims:
        lines += ["", *textwrap.wrap(f"Symmetry: {claims}.", 100)]
    lines += ["", *textwrap.wrap(f"Methods: {', '.join(plan.citations)}.", 100)]
    lines += [f"Graph: {plan.graph_hash}", '"""']
    return "\n".join(lines)
