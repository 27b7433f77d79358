"""The plan: what the compiler hands to the runtime, as plain data.

A plan is a straight-line program. Its steps run in order, each one layer on the values of earlier steps;
`outputs` names the steps that users see. Beside the program it carries what was claimed about it, where the
data lies and how to train, so that an artifact needs nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from .errors import ArtifactError
from .irreps import Irreps
from .migrations import PLAN_VERSION, migrate_plan

_SYSTEM_KEYS = {
    "atoms": {"species", "cutoff", "periodic_stress", "pairs", "unit", "inputs"},
    "particles": {"species", "cutoff", "periodic_stress", "pairs", "unit", "inputs"},
    "phase_space": {"coordinates", "dim", "integrator", "separable", "structure", "masses", "swap"},
}
_TRAIN_KEYS = {
    "epochs",
    "batch",
    "learning_rate",
    "weight_decay",
    "optimizer",
    "schedule",
    "ema",
    "seed",
    "precision",
    "clip",
    "loss",
    "patience",
}
# What later versions added, with what it was before: plans of old artifacts lack them.
_TRAIN_LATER: Mapping[str, Any] = {
    "accumulate": 1,
    "warmup": 0.0,
    "from": None,
    "only": None,
    "freeze": [],
    "activation_checkpointing": False,
}
_DATA_KEYS = {"sets", "isolated_atoms", "seed"}
_DATA_LATER: Mapping[str, Any] = {"prepared": None}
_DEPLOY_KEYS = {"tabulate", "radial"}
_EXPORT_KEYS = {"targets", "dtype"}


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the program: `name = layer(*inputs; params)`.

    `index` is the set that the value lives on (node, edge, system, ...), `rep` how it transforms, `dim` the
    length of its last axis.
    """

    name: str
    layer: str
    inputs: tuple[str, ...]
    params: Mapping[str, Any]
    index: str
    rep: str
    unit: str
    dim: int


@dataclass(frozen=True, slots=True)
class Output:
    """A value that users see: the step that makes it, and its type.

    `form`: its numbers are a matrix [3, 3] (`cartesian`), or the components of its irreps one after another.
    `extensive`: that of two systems far apart is the sum of theirs.
    """

    step: str
    index: str
    rep: str
    unit: str
    form: str
    extensive: bool

    @property
    def dim(self) -> int:
        """How many components of irreps one value has."""
        return Irreps.parse(self.rep).dim

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one value: [] for one number, [3, 3] for a matrix, else [dim]."""
        if self.form == "cartesian":
            return (3, 3)
        return () if self.dim == 1 else (self.dim,)


@dataclass(frozen=True, slots=True)
class Claim:
    """What holds of the outputs under one factor of the symmetry group.

    `mode` and `strength` are how the spec asked for it, `demanded` what it accepts, `verdict` what the
    checker found (with `eps` where approximate, and the `ops` responsible), `within` the spec's tolerance.
    """

    factor: str
    mode: str
    strength: float | None
    demanded: str
    verdict: str
    eps: float | None
    ops: tuple[str, ...]
    within: float | None


@dataclass(frozen=True, slots=True)
class Conserved:
    """A conserved quantity, the symmetry it follows from, and what breaks it where it does not hold."""

    quantity: str
    because: str
    holds: bool
    broken_by: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled model, complete but for its weights.

    Example:
        >>> from equic.runtime.testing.plans import hnn_plan
        >>> plan = hnn_plan(dim=2, separable=True)
        >>> Plan.from_json(plan.to_json()) == plan
        True
    """

    version: int
    name: str
    kind: str
    architecture: str
    system: Mapping[str, Any]
    steps: tuple[Step, ...]
    outputs: Mapping[str, Output]
    statistics: tuple[str, ...]
    claims: tuple[Claim, ...]
    conserved: tuple[Conserved, ...]
    smoothness: Mapping[str, Any]
    locality: Mapping[str, Any]
    data: Mapping[str, Any] | None
    train: Mapping[str, Any] | None
    deploy: Mapping[str, Any]
    export: Mapping[str, Any] | None
    graph_hash: str
    spec_hash: str
    citations: tuple[str, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Read a plan, refusing whatever is not exactly one; one of an earlier version is brought to this one.

        Raises:
            ArtifactError: another version, unknown or missing keys, or steps that do not form a program.
        """
        if not isinstance(data, Mapping):
            raise ArtifactError(f"a plan is a mapping, not {type(data).__name__}")
        data = _migrated(data)
        if data.get("version") != PLAN_VERSION:
            raise ArtifactError(
                f"the plan has version {data.get('version')!r}, this equic reads version {PLAN_VERSION}",
                help="compile the spec again, or install the equic that wrote the file",
            )
        _expect(data, _names(cls), "the plan")
        steps = tuple(_read(Step, step, f"step {i}") for i, step in enumerate(data["steps"]))
        outputs = {name: _read(Output, value, f"output `{name}`") for name, value in data["outputs"].items()}
        for section, later in (("train", _TRAIN_LATER), ("data", _DATA_LATER)):
            if isinstance(data[section], Mapping):
                data = {**data, section: {**later, **data[section]}}
        _check_program(steps, outputs)
        _check_parts(data)
        return cls(
            **{
                **{name: data[name] for name in _names(cls)},
                "steps": steps,
                "outputs": outputs,
                "statistics": tuple(data["statistics"]),
                "claims": tuple(_read(Claim, claim, f"claim {i}") for i, claim in enumerate(data["claims"])),
                "conserved": tuple(
                    _read(Conserved, item, f"conserved {i}") for i, item in enumerate(data["conserved"])
                ),
                "citations": tuple(data["citations"]),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """The same plan as plain dicts, lists, strings and numbers; `from_json` reads it back exactly."""
        return {
            **{name: _plain(getattr(self, name)) for name in _names(Plan)},
            "steps": [_write(step) for step in self.steps],
            "outputs": {name: _write(output) for name, output in self.outputs.items()},
            "claims": [_write(claim) for claim in self.claims],
            "conserved": [_write(item) for item in self.conserved],
        }

    def step(self, name: str) -> Step:
        """The step of this name.

        Raises:
            ArtifactError: there is none.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise ArtifactError(f"the plan has no step `{name}`")

    @property
    def is_points(self) -> bool:
        """Points in space with edges between them: atoms, or particles."""
        return self.kind in ("atoms", "particles")

    @property
    def energy(self) -> str | None:
        """The output that is an energy: one number a system that counts from free atoms, or is differentiated."""
        differentiated = {step.inputs[0] for step in self.steps if step.layer == "grad"}
        for name, output in self.outputs.items():
            read = self.step(output.step).inputs
            terms = [one for name in read for one in (name, *self._terms(name))]
            counted = any(self.step(one).layer == "shift_scale" for one in terms)
            if output.index == "system" and output.shape == () and (counted or output.step in differentiated):
                return name
        return None

    def _terms(self, name: str) -> tuple[str, ...]:
        """What a sum adds up; nothing for any other step."""
        step = self.step(name)
        return step.inputs if step.layer == "add" else ()

    def derivative(self, wrt: str) -> str | None:
        """The output that is a derivative by this input: forces by `positions`, stress by `strain`."""
        for name, output in self.outputs.items():
            step = self.step(output.step)
            if step.layer == "grad" and step.params["wrt"] == wrt:
                return name
        return None

    @property
    def forces(self) -> str | None:
        """The output that moves atoms: the derivative of the energy, or a vector an atom in its unit."""
        derived = self.derivative("positions")
        if derived is not None or self.energy is None:
            return derived
        unit = _per(self.outputs[self.energy].unit, self.system["unit"])
        vectors = (
            name
            for name, one in self.outputs.items()
            if one.index == "node" and one.unit == unit and Irreps.parse(one.rep) == Irreps.parse("1o")
        )
        return next(vectors, None)

    @property
    def stress(self) -> str | None:
        """The output that is the derivative of the energy by strain."""
        return self.derivative("strain")

    @property
    def per_atom(self) -> frozenset[str]:
        """The outputs whose errors are also given per atom: energies, and what the loss divides by the atoms."""
        divided = {name for name, term in ((self.train or {}).get("loss") or {}).items() if term["per_atom"]}
        return frozenset(divided | ({self.energy} if self.energy is not None else set()))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The fields that the input steps read (positions, species, state)."""
        return tuple(dict.fromkeys(step.params["field"] for step in self.steps if step.layer == "input"))


def _migrated(data: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return migrate_plan(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"a damaged plan of version {data.get('version')!r}: {error!r}") from error


def _per(unit: str, length: str) -> str:
    return unit if length == "1" else f"{unit}/{length}"


def _names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls))


def _expect(data: Any, names: Iterable[str], where: str) -> None:
    """`data` is a mapping with exactly these keys."""
    if not isinstance(data, Mapping):
        raise ArtifactError(f"{where}: expected a mapping, found {type(data).__name__}")
    names = set(names)
    if unknown := sorted(set(data) - names):
        raise ArtifactError(
            f"{where}: unknown key `{unknown[0]}`", help=f"known keys: {', '.join(sorted(names))}"
        )
    if missing := sorted(names - set(data)):
        raise ArtifactError(f"{where}: key `{missing[0]}` is missing")


def _read(cls: type, data: Any, where: str) -> Any:
    _expect(data, _names(cls), where)
    return cls(**{key: tuple(value) if key in ("inputs", "ops") else value for key, value in data.items()})


def _write(item: Any) -> dict[str, Any]:
    return {name: _plain(getattr(item, name)) for name in _names(type(item))}


def _plain(value: Any) -> Any:
    """Tuples as lists and mappings as dicts, all the way down."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _check_program(steps: tuple[Step, ...], outputs: Mapping[str, Output]) -> None:
    seen: set[str] = set()
    for step in steps:
        if step.name in seen:
            raise ArtifactError(f"two steps are called `{step.name}`")
        for name in step.inputs:
            if name not in seen:
                raise ArtifactError(f"step `{step.name}` reads `{name}`, which no earlier step makes")
        if step.layer == "input" and "field" not in step.params:
            raise ArtifactError(f"input step `{step.name}` names no field")
        seen.add(step.name)
    for name, output in outputs.items():
        if output.step not in seen:
            raise ArtifactError(f"output `{name}` names step `{output.step}`, which does not exist")


def _check_parts(data: Mapping[str, Any]) -> None:
    if data["kind"] not in _SYSTEM_KEYS:
        raise ArtifactError(
            f"unknown kind of system `{data['kind']}`", help=f"known: {', '.join(_SYSTEM_KEYS)}"
        )
    _expect(data["system"], _SYSTEM_KEYS[data["kind"]], "system")
    for name, keys in (
        ("data", _DATA_KEYS | _DATA_LATER.keys()),
        ("train", _TRAIN_KEYS | _TRAIN_LATER.keys()),
        ("deploy", _DEPLOY_KEYS),
        ("export", _EXPORT_KEYS),
    ):
        if data[name] is not None:
            _expect(data[name], keys, name)
