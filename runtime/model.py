"""The torch module that runs a plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from .errors import ArtifactError, DataError
from .irreps import Irreps
from .layers.base import Hidden, Layer
from .layers.derivatives import volumes
from .neighbors.line_graph import DERIVED, with_derived
from .plan import Plan, Step
from .recompute import Block, Recomputed, blocks_of, parts_of

if TYPE_CHECKING:
    from .kernels import Fused
    from .kernels.runner import Runner

# what computes the steps that take the time (see `build_module`)
Kernels = Literal["auto", "reference", "torch", "c"]

# layers whose value is a derivative of their first input
DIFFERENTIATING = ("grad", "poisson")


class Statistics(nn.Module):
    """Numbers that the training data fixes, float64 however the model is cast.

    Until they are set: `average_neighbors` 1, `atomic_energies` zeros [species], `scale` 1, `shift` 0 (eV); of
    every target that is rescaled `TARGET_scale` ones [blocks] and `TARGET_shift` zeros [invariants].
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        for name, shape in shapes.items():
            start = torch.zeros if name.endswith(("energies", "shift")) else torch.ones
            self.register_buffer(name, start(shape, dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Statistics:
        for name, value in self._buffers.items():
            if value is not None:
                moved = fn(value)
                self._buffers[name] = value.to(moved.device) if moved.dtype != value.dtype else moved
        return self


def statistic_shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    """How many numbers each of the plan's statistics is."""
    shapes: dict[str, tuple[int, ...]] = {"atomic_energies": (len(plan.system.get("species", ())),)}
    for step in plan.steps:
        if step.layer == "shift_scale" and step.params.get("per") == "species":
            shapes |= dict.fromkeys(("scale", "shift"), (int(step.params["species"]),))
        if step.layer in ("rescale", "normalize"):
            irreps = Irreps.parse(step.params["irreps"])
            name = step.params["target" if step.layer == "rescale" else "name"]
            shapes |= {f"{name}_scale": (len(irreps),), f"{name}_shift": (irreps.invariants,)}
    return {name: shapes.get(name, ()) for name in plan.statistics}


class Model(nn.Module):
    """A plan as a torch module. Made by `build_module`.

    `forward` takes a dict of inputs and gives a dict of outputs (both as the plan names them); parameters
    are `steps.NAME.*`, statistics `statistics.*`. Forces, stress and flows come from one backward pass.

    Inputs for atoms and particles: positions [node, 3] Å, species [node], cell [system, 3, 3] Å, system [node],
    edges [2, edge] (source, target), shifts [edge, 3], declared inputs [system, dim] or [node, dim]. For phase
    space: state [batch, dim].
    """

    def __init__(
        self,
        plan: Plan,
        layers: Mapping[str, Layer],
        programs: Sequence[Fused] = (),
        choice: Kernels = "reference",
    ) -> None:
        super().__init__()
        self.plan, self.choice = plan, choice
        # the plan's steps, and programs on kernels that stand for them
        self._programs: dict[str, tuple[Step, ...]] = {program.form: program.steps for program in programs}
        self._programs["reference"] = plan.steps
        self.kernels = nn.ModuleDict({program.form: _modules(program.layers) for program in programs})
        self.statistics = Statistics(statistic_shapes(plan))
        self._module_names = {name: module_name(name) for name in layers}
        if len(set(self._module_names.values())) < len(layers):
            raise ArtifactError("two steps have names that differ only in special characters")
        self.steps = _modules(layers)
        self._differentiates = any(step.layer in DIFFERENTIATING for step in plan.steps)
        by = (step.params["wrt"] for step in plan.steps if step.layer == "grad")
        self._leaves = tuple(
            dict.fromkeys(("positions", "state", *(name for name in by if name != "strain")))
        )
        self._strains = any(step.layer == "grad" and step.params["wrt"] == "strain" for step in plan.steps)
        self._outputs = _outputs(plan)
        self._numbers = frozenset(name for name, at in self._outputs.items() if plan.step(at).dim == 1)
        fields = {field for layer in layers.values() for field in layer.fields} - {"volume"}
        self._derived = tuple(name for name in DERIVED if name in fields)
        fields = fields - set(DERIVED) | ({"edges", "shifts"} if self._derived else set())
        self._needs = frozenset(fields | ({"cell", "system", "positions"} if self._strains else set()))
        self._exact: Hidden | None = None
        self._schedules: dict[tuple[tuple[str, ...], str], list[tuple[Step, list[str]]]] = {}
        self._blocks: dict[tuple[tuple[str, ...], str], list[tuple[Step | Recomputed, list[str]]]] = {}

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        return next((value.dtype for value in self.parameters()), torch.float64)

    def layer(self, step: str) -> Layer:
        """The module of one step."""
        layer = self.steps[self._module_names[step]]
        assert isinstance(layer, Layer)
        return layer

    @property
    def form(self) -> Literal["c", "torch", "reference"]:
        """What computes on the CPU: generated C, torch on tables of neighbours, or the layers as written."""
        return "c" if "c" in self._programs else "torch" if "torch" in self._programs else "reference"

    @property
    def fused(self) -> tuple[Step, ...]:
        """The program on generated C; empty without one."""
        return self._programs.get("c", ())

    @property
    def output_steps(self) -> tuple[str, ...]:
        """The steps whose values `forward` gives, in order."""
        return tuple(self._outputs.values())

    @property
    def derived(self) -> tuple[str, ...]:
        """What is made of the edges where it is not among the inputs: `angles`, `reverse`."""
        return self._derived

    @property
    def strains(self) -> bool:
        """Whether something is differentiated by a strain of the whole system."""
        return self._strains

    def _runner(self, inputs: Mapping[str, Tensor]) -> Runner | None:
        """What gives numbers without autograd, where the program is one for it."""
        # tracers see operators, not what the runner does with addresses
        traced = torch.compiler.is_compiling() or any(type(value) is not Tensor for value in inputs.values())
        if traced or self._form(inputs, self.output_steps) != "c":
            return None
        from .kernels.runner import runner_for

        return runner_for(self)

    def kernel(self, step: str, form: str = "c") -> Layer:
        """The kernel that serves one step of a program; its layer where it has none."""
        name = module_name(step)
        if form not in self.kernels or name not in self.kernels[form]:
            return self.layer(step)
        layer = self.kernels[form][name]
        assert isinstance(layer, Layer)
        return layer

    @property
    def exact(self) -> Model | None:
        """Of a model with tables in place of networks, the one that they were made from."""
        if self._exact is None:
            return None
        assert isinstance(self._exact.module, Model)
        return self._exact.module

    def remember_exact(self, model: Model) -> None:
        """Say which model this one's tables were made from."""
        self._exact = Hidden(model)

    def set_statistics(self, values: Mapping[str, float | Sequence[float]]) -> None:
        """Fill statistics that the training data fixes.

        Raises:
            DataError: the plan has no such statistic, or another number of values.
        """
        for name, value in values.items():
            if name not in self.statistics._buffers:
                known = ", ".join(self.plan.statistics) or "none"
                raise DataError(f"the model has no statistic `{name}`", help=f"it has: {known}")
            buffer = self.statistics.get_buffer(name)
            new = torch.as_tensor(value, dtype=torch.float64)
            if new.shape != buffer.shape:
                raise DataError(f"`{name}` takes {buffer.numel()} numbers, not {new.numel()}")
            buffer.copy_(new)

    def _statistics(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.statistics._buffers.items() if value is not None}

    def forward(
        self, inputs: Mapping[str, Tensor], *, create_graph: bool = False, recompute: bool = False
    ) -> dict[str, Tensor]:
        """Run the plan.

        With `create_graph` the outputs can be differentiated again, by weights and by inputs that require it
        (training); without, they are plain numbers. Gradients are switched on inside where a step needs them.
        With `recompute` too, values of edges are made again on the way back: see `runtime/recompute`.

        Raises:
            DataError: an input is missing.
        """
        if missing := self._needs - inputs.keys():
            raise DataError(f"the model needs the input `{min(missing)}`")
        runner = None if create_graph else self._runner(inputs)
        if runner is None:
            values = self._run(inputs, self.output_steps, create_graph, recompute=create_graph and recompute)
        else:
            values = runner(inputs, self._statistics())
        outputs = {name: self._output(name, values[step]) for name, step in self._outputs.items()}
        if "state" in inputs:
            outputs = {name: value.to(inputs["state"].dtype) for name, value in outputs.items()}
        return outputs if create_graph else {name: value.detach() for name, value in outputs.items()}

    def trainable(self, inputs: Mapping[str, Tensor], targets: Collection[str]) -> dict[str, Tensor]:
        """The outputs `targets`, or more, whose gradients by the weights can be taken: for a step of training.

        An energy and its derivatives come from C where that is to be had, and so does the gradient, once: outputs of
        `forward` with `create_graph` can be differentiated as often as one likes, and take twice the time.

        Raises:
            DataError: an input is missing.
        """
        plain = torch.is_grad_enabled() and not any(value.requires_grad for value in inputs.values())
        runner = self._runner(inputs) if plain and not self._needs - inputs.keys() else None
        if runner is not None:
            names = [name for name in self._outputs if name in targets]
            context = runner.context(inputs, self._statistics())
            values = runner.trainable([self._outputs[name] for name in names], context)
            if values is not None:
                return {name: self._output(name, values[self._outputs[name]]) for name in names}
        return self.forward(inputs, create_graph=True)

    def _output(self, name: str, value: Tensor) -> Tensor:
        """As callers get it: one number a row without an axis of its own."""
        return value.squeeze(-1) if value.ndim > 1 and name in self._numbers else value

    def intermediate(self, inputs: Mapping[str, Tensor], name: str) -> Tensor:
        """The value of any one step, for metrics and for looking inside.

        Raises:
            ArtifactError: the plan has no step of this name.
        """
        self.plan.step(name)
        return self._run(inputs, (name,), create_graph=False)[name].detach()

    def _run(
        self,
        inputs: Mapping[str, Tensor],
        wanted: tuple[str, ...],
        create_graph: bool,
        *,
        recompute: bool = False,
    ) -> dict[str, Tensor]:
        with ExitStack() as stack:
            for context in self._grad_contexts(create_graph):
                stack.enter_context(context)
            run = _Run(self, inputs, create_graph)
            form = self._form(inputs, wanted)
            todo = self._in_blocks(wanted, form) if recompute else self._schedule(wanted, form)
            parts = parts_of(run.context) if recompute else ()
            for one, unread in todo:
                if isinstance(one, Recomputed):
                    run.values |= one(run.values, run.context, parts)
                else:
                    run.values[one.name] = run.evaluate(one, form)
                for name in unread:
                    del run.values[name]
            return {name: run.values[name] for name in wanted}

    def _form(self, inputs: Mapping[str, Tensor], wanted: tuple[str, ...]) -> str:
        """Which program runs: the first that has the wanted steps and serves where the inputs are."""
        elsewhere = any(value.device.type != "cpu" for value in inputs.values())
        return next(
            form
            for form, steps in self._programs.items()
            if not (form == "c" and elsewhere) and set(wanted) <= {step.name for step in steps}
        )

    def _schedule(self, wanted: tuple[str, ...], form: str) -> Sequence[tuple[Step, list[str]]]:
        """The steps up to the last wanted one, each with the values that nobody reads after it."""
        if (wanted, form) not in self._schedules:
            program = self._programs[form]
            names = [step.name for step in program]
            steps = program[: max(names.index(name) for name in wanted) + 1]
            last = {name: step.name for step in steps for name in (step.name, *step.inputs)}
            self._schedules[wanted, form] = [
                (step, [name for name, at in last.items() if at == step.name and name not in wanted])
                for step in steps
            ]
        return self._schedules[wanted, form]

    def _in_blocks(self, wanted: tuple[str, ...], form: str) -> Sequence[tuple[Step | Recomputed, list[str]]]:
        """As `_schedule`, with blocks of steps that are made again on the way back."""
        if (wanted, form) not in self._blocks:
            steps = [step for step, _ in self._schedule(wanted, form)]
            layers = {step.name: self.kernel(step.name, form) for step in steps}
            blocks = blocks_of(steps, layers, wanted)
            last = {name: i for i, block in enumerate(blocks) for name in (*block.outputs, *block.inputs)}
            self._blocks[wanted, form] = [
                (
                    self._recomputed(block, form) if block.again else block.steps[0],
                    [name for name, at in last.items() if at == i and name not in wanted],
                )
                for i, block in enumerate(blocks)
            ]
        return self._blocks[wanted, form]

    def _recomputed(self, block: Block, form: str) -> Recomputed:
        layers = [self.kernel(step.name, form) for step in block.steps]
        borrowed = [[getattr(self.layer(owner), name) for owner, name in layer.borrows] for layer in layers]
        indices = {step.name: step.index for step in self._programs[form]}
        return Recomputed(block, layers, indices, borrowed)

    def _grad_contexts(self, create_graph: bool) -> list[AbstractContextManager[Any]]:
        if self._differentiates:
            # inference mode must be left first: inside it, enable_grad has no effect
            inference = [torch.inference_mode(False)] if torch.is_inference_mode_enabled() else []
            return [*inference, torch.enable_grad()]
        return [] if create_graph else [torch.no_grad()]


class _Run:
    """One pass through the plan: the values so far, and what the steps differentiate by."""

    def __init__(self, model: Model, inputs: Mapping[str, Tensor], create_graph: bool) -> None:
        self.model = model
        self.create_graph = create_graph
        self.values: dict[str, Tensor] = {}
        self.derivatives: dict[tuple[str, str], Tensor] = {}
        self.context = {
            name: value.clone() if value.is_inference() else value for name, value in inputs.items()
        } | model._statistics()
        if model._derived:
            self.context = with_derived(self.context, model._derived)
        self.leaves: dict[str, Tensor] = {}
        if model._differentiates:
            self._make_leaves()

    def _make_leaves(self) -> None:
        """Inputs that will be differentiated by, and positions and cell under a strain that is zero."""
        for field in self.model._leaves:
            if field in self.context:
                value = self.context[field]
                kept = self.create_graph and value.requires_grad
                leaf = value if kept else value.detach().requires_grad_(True)
                self.leaves[field] = self.context[field] = leaf
        if "cell" in self.context:
            cell = self.context["cell"]
            self.context["volume"] = volumes(cell)
        if self.model._strains:
            strain = torch.zeros_like(cell).requires_grad_(True)
            self.leaves["strain"] = strain
            symmetric = (strain + strain.transpose(1, 2)) / 2
            positions = self.context["positions"]
            of_atom = symmetric.index_select(0, self.context["system"])
            self.context["positions"] = positions + torch.bmm(positions[:, None], of_atom)[:, 0]
            self.context["cell"] = cell + torch.bmm(cell, symmetric)

    def evaluate(self, step: Step, form: str) -> Tensor:
        layer = self.model.kernel(step.name, form)
        values = [self.values[name] for name in step.inputs]
        if step.layer in DIFFERENTIATING:
            wrt = "state" if step.layer == "poisson" else step.params["wrt"]
            values = [self._derivative(step.inputs[0], wrt)]
        context = [self.context[name] for name in (*layer.fields, *layer.statistics)]
        borrowed = [getattr(self.model.layer(owner), name) for owner, name in layer.borrows]
        return layer(*values, *context, *borrowed)

    def _derivative(self, scalar: str, wrt: str) -> Tensor:
        """d(sum of scalar)/d(leaf). All derivatives of one scalar come from one backward pass."""
        if (scalar, wrt) not in self.derivatives:
            names = tuple(self.leaves)
            gradients = torch.autograd.grad(
                self.values[scalar].sum(),
                [self.leaves[name] for name in names],
                create_graph=self.create_graph,
                retain_graph=True if self.create_graph else self._others_wait(scalar),
                materialize_grads=True,
            )
            for name, gradient in zip(names, gradients, strict=True):
                self.derivatives[scalar, name] = gradient
        return self.derivatives[scalar, wrt]

    def _others_wait(self, scalar: str) -> bool:
        """Whether another scalar is differentiated too, so that the graph must live on."""
        scalars = {step.inputs[0] for step in self.model.plan.steps if step.layer in DIFFERENTIATING}
        return len(scalars) > 1


def _modules(layers: Mapping[str, Layer]) -> nn.ModuleDict:
    return nn.ModuleDict({module_name(name): layer for name, layer in layers.items()})


def module_name(step: str) -> str:
    """A step's name as a module's: letters, digits and `_` stay, `.` is `__`, the rest its code point.

    Example:
        >>> module_name("layer1.A"), module_name("a/b"), module_name("train")
        ('layer1__A', 'a_2f_b', 'train_')
    """
    name = "".join(c if c.isalnum() or c == "_" else "__" if c == "." else f"_{ord(c):x}_" for c in step)
    return f"{name}_" if name in dir(nn.ModuleDict()) else name


def _outputs(plan: Plan) -> dict[str, str]:
    """Name and step of everything that `forward` gives: what the plan names, and what comes with it."""
    outputs = {name: output.step for name, output in plan.outputs.items()}
    energy = plan.energy
    if energy is not None and plan.step(outputs[energy]).layer == "reduce":
        outputs.setdefault(f"node_{energy}", plan.step(outputs[energy]).inputs[0])
    for step in plan.steps:
        if step.layer == "poisson":
            outputs.setdefault("hamiltonian", step.inputs[0])
    return outputs
