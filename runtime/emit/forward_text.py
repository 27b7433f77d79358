"""The body of an emitted `forward`: one line a step, with the type of its value."""

from __future__ import annotations

import keyword

from ..model import DIFFERENTIATING, Model, module_name
from ..plan import Step
from .frozen import laid_out

_TAKEN = {
    "self",
    "inputs",
    "create_graph",
    "steps",
    "statistics",
    "leaves",
    "strain",
    "volume",
    "derived",
    "torch",
    "nn",
}


class ForwardText:
    """Writes the steps of a model as straight-line code; `helpers` are the functions of `pieces` that it calls.

    `borrowed` are the attributes of layers that other steps read.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.helpers: list[str] = []
        self.names: dict[str, str] = {}
        self.context: dict[str, str] = {}
        self.lines: list[str] = []
        self.borrowed: set[str] = set()

    def text(self) -> list[str]:
        """The lines of the body, without indentation."""
        self._begin()
        group = None
        done: set[str] = set()
        for step in self.model.plan.steps:
            prefix = step.name.partition(".")[0] if "." in step.name else ""
            if prefix != group and group is not None:
                self.lines.append("")
            group = prefix
            values = [self.names[name] for name in step.inputs]
            if step.layer in DIFFERENTIATING:
                values = [self._derivative(step, done)]
            layer = self.model.layer(step.name)
            values += [self._context(name) for name in layer.fields]
            values += [f"statistics.{name}" for name in layer.statistics]
            values += [f"steps.{module_name(owner)}.{name}" for owner, name in layer.borrows]
            self.borrowed |= {name for _, name in layer.borrows}
            name = self.names[step.name] = self._name(step.name)
            unit = "" if step.unit == "1" else f" [{step.unit}]"
            self.lines.append(f"# {step.layer}, on every {step.index}: {step.rep}{unit}")
            self.lines += laid_out(f"{name} = steps.{module_name(step.name)}(", values, ")", 8).splitlines()
        self._end()
        return self.lines

    def _helper(self, name: str) -> str:
        if name not in self.helpers:
            self.helpers.append(name)
        return name

    def _name(self, step: str) -> str:
        """A variable for a step's value."""
        name = module_name(step)
        taken = _TAKEN | set(self.context.values()) | set(self.names.values()) | set(self.helpers)
        while name in taken or keyword.iskeyword(name) or not name.isidentifier():
            name = f"{name}_" if name.isidentifier() else f"v_{name}"
        return name

    def _context(self, field: str) -> str:
        """The variable or expression of a model input."""
        return self.context.get(field, f'inputs["{field}"]')

    def _begin(self) -> None:
        """Inputs that are differentiated by, and positions and cell under a strain."""
        model, lines = self.model, self.lines
        lines.append("steps, statistics = self.steps, self.statistics")
        if model.derived:
            call = f"{self._helper('with_derived')}(inputs, {model.derived!r})"
            lines.append(f"derived = {call}  # pairs of edges, ways back")
            self.context |= {name: f'derived["{name}"]' for name in model.derived}
        if not model._differentiates:
            return
        fields = {field for layer in model.steps.values() for field in layer.fields}  # type: ignore[union-attr]
        leaves = [name for name in model._leaves if name in fields]
        leaf = self._helper("leaf") if leaves else ""
        items = ", ".join(f'"{name}": {leaf}(inputs["{name}"], create_graph)' for name in leaves)
        lines.append(f"leaves = {{{items}}}")
        self.context |= {name: f'leaves["{name}"]' for name in leaves}
        if "volume" in fields:
            lines.append(f'volume = {self._helper("volumes")}(inputs["cell"])')
            self.context["volume"] = "volume"
        if model._strains:
            lines.append('leaves["strain"] = torch.zeros_like(inputs["cell"]).requires_grad_(True)')
            arguments = ['leaves["strain"]', 'leaves["positions"]', 'inputs["cell"]', 'inputs["system"]']
            lines.append(f"moved, cell = {self._helper('strained')}({', '.join(arguments)})")
            self.context |= {"positions": "moved", "cell": "cell"}
        lines.append("")

    def _derivative(self, step: Step, done: set[str]) -> str:
        """The derivative that a step gives meaning to; the first of a scalar runs the backward pass."""
        scalar = step.inputs[0]
        variable = f"d_{self.names[scalar]}"
        if scalar not in done:
            done.add(scalar)
            scalars = {one.inputs[0] for one in self.model.plan.steps if one.layer in DIFFERENTIATING}
            again = ", again=True" if len(scalars) > 1 else ""
            call = f"{self._helper('derivatives')}({self.names[scalar]}, leaves, create_graph{again})"
            self.lines.append(f"{variable} = {call}")
        wrt = "state" if step.layer == "poisson" else step.params["wrt"]
        return f'{variable}["{wrt}"]'

    def _end(self) -> None:
        lines = self.lines
        lines += ["", "outputs = {"]
        lines += [f'    "{name}": {self.names[step]},' for name, step in self.model._outputs.items()]
        lines.append("}")
        if self.model.plan.kind == "phase_space":
            lines.append(
                'outputs = {name: value.to(inputs["state"].dtype) for name, value in outputs.items()}'
            )
        for name in self.model._outputs:
            if name in self.model._numbers:
                lines.append(f'if outputs["{name}"].ndim > 1:')
                lines.append(f'    outputs["{name}"] = outputs["{name}"].squeeze(-1)')
        lines.append(
            "return outputs if create_graph else {name: value.detach() for name, value in outputs.items()}"
        )
