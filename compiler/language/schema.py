"""The spec language, version 1: frozen pydantic models of everything a spec may say.

Defaults exist here and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from .codes import Code
from .diagnostics import SpecValueError
from .elements import SYMBOLS, closest_symbol
from .scalar_types import Length, RepText, UnitText
from .schema_data import Data
from .schema_parts import Block, Count, Flag, Positive, Whole
from .schema_points import RESERVED, AtomInteractions, InputField, ParticlesSystem, check_names
from .schema_train import Train
from .wording import clip


def _mass(value: float) -> float:
    if not 1e-100 <= value <= 1e100:  # p^2 / 2m must be a number
        raise SpecValueError(
            f"a mass of {value:g} is no mass",
            help="write a mass in the units of the data",
            code=Code.OUT_OF_RANGE,
        )
    return value


Mass = Annotated[Positive, AfterValidator(_mass)]

# --- system ------------------------------------------------------------------------------------------


_SMALLEST_CUTOFF = 1e-3  # Å
_LARGEST_CUTOFF = 1000.0  # Å; what lies beyond is a slip of the unit


class AtomsSystem(Block):
    """Molecules and crystals: atoms of the listed species that see each other within the cutoff.

    `interactions` makes it fewer, the nearest ones, or more: all atoms of a molecule, which have no cutoff.
    """

    kind: Literal["atoms"] = Field(description="molecules and crystals")
    species: tuple[str, ...] = Field(min_length=1, description="chemical symbols, in any order")
    cutoff: Length | None = Field(description="how far an atom sees, a length such as `5.0 Å`")
    interactions: AtomInteractions | None = Field(
        default=None,
        description="which atoms see each other: those within the cutoff if not given, the nearest of them "
        "(`{nearest: 12}`), or `all` of a molecule, without a `cutoff`",
    )
    inputs: dict[str, InputField] = Field(
        default={}, description="name → what else is known of systems or atoms: a total charge, a field, ..."
    )

    @field_validator("inputs")
    @classmethod
    def _names(cls, inputs: dict[str, InputField]) -> dict[str, InputField]:
        check_names(inputs, reserved=RESERVED)
        return inputs

    @field_validator("species")
    @classmethod
    def _known(cls, species: tuple[str, ...]) -> tuple[str, ...]:
        for k, symbol in enumerate(species):
            if symbol not in SYMBOLS:
                raise SpecValueError(
                    f"`{clip(symbol)}` is not a chemical symbol",
                    help=f"did you mean `{closest_symbol(symbol)}`?",
                    code=Code.UNKNOWN_ELEMENT,
                    at=(k,),
                    instead=closest_symbol(symbol)
                    if symbol.lower() == closest_symbol(symbol).lower()
                    else None,
                )
            if symbol in species[:k]:
                raise SpecValueError(
                    f"species `{symbol}` is listed twice",
                    help="list every species once",
                    code=Code.LISTED_TWICE,
                    at=(k,),
                )
        return species

    @field_validator("cutoff")
    @classmethod
    def _positive(cls, cutoff: float | None) -> float | None:
        if cutoff is not None and not _SMALLEST_CUTOFF <= cutoff <= _LARGEST_CUTOFF:
            raise SpecValueError(
                f"a cutoff is from {_SMALLEST_CUTOFF:g} to {_LARGEST_CUTOFF:g} Å, not {cutoff:g} Å",
                help="typical values are 4 to 6 Å",
                code=Code.OUT_OF_RANGE,
            )
        return cutoff

    @model_validator(mode="before")
    @classmethod
    def _none_of_all(cls, given: object) -> object:
        if isinstance(given, dict) and given.get("interactions") == "all":
            return {"cutoff": None, **given}
        return given

    @field_validator("interactions", mode="before")
    @classmethod
    def _cutoff_is_within(cls, interactions: object) -> object:
        if isinstance(interactions, dict) and "within" in interactions:
            raise SpecValueError(
                "how far atoms see is their `cutoff`, not `within`",
                help="write `cutoff: 5.0 Å` beside `species`, and leave `interactions` out",
                code=Code.CONFLICTING_KEYS,
            )
        return interactions

    @model_validator(mode="after")
    def _one_end(self) -> AtomsSystem:
        if self.interactions == "all" and self.cutoff is not None:
            raise SpecValueError(
                "where all atoms see each other there is no cutoff",
                help="remove `cutoff`, or `interactions: all`",
                code=Code.CONFLICTING_KEYS,
                at=("cutoff",),
            )
        if self.interactions != "all" and self.cutoff is None:
            raise SpecValueError(
                "`cutoff` must be a length, unless all atoms see each other",
                help="write `5.0 Å`, or `interactions: all` without a `cutoff`",
                code=Code.WRONG_TYPE,
                at=("cutoff",),
            )
        return self

    @property
    def reach(self) -> float | None:
        """How far an atom sees (Å); None where no distance ends that."""
        return self.cutoff


class PhaseSpaceSystem(Block):
    """Coordinates with their momenta: a number of dimensions each, or irreps of SO(2) such as `1x1`."""

    kind: Literal["phase_space"] = Field(description="coordinates and momenta")
    coordinates: dict[str, RepText] = Field(
        min_length=1,
        description="name → dimensions (`2`) or irreps of SO(2) (`1x1`); the momenta are their duals",
    )

    @field_validator("coordinates")
    @classmethod
    def _names(cls, coordinates: dict[str, str]) -> dict[str, str]:
        check_names(coordinates)
        return coordinates


System = Annotated[AtomsSystem | ParticlesSystem | PhaseSpaceSystem, Field(discriminator="kind")]
Points = AtomsSystem | ParticlesSystem


# --- symmetry ----------------------------------------------------------------------------------------


class Relaxed(Block):
    """W = [P + s (I - P)] V: weights that break the symmetry enter scaled by s."""

    relaxed: Annotated[float, Field(ge=0, le=1, strict=True)] = Field(
        description="s from 0 (the very graph of `hard`) to 1 (unconstrained)"
    )


class Within(Block):
    """How large a measured error may be."""

    within: Positive = Field(description="largest relative error accepted")


class HardWithin(Block):
    """Proven, or approximate with a measured error of at most `within`."""

    hard: Within = Field(description="how exactly the symmetry must hold")


class Permutation(Block):
    """Bodies that are alike: swapping any of them changes nothing."""

    swap: tuple[str, ...] = Field(min_length=2, description="names of the coordinates that are alike")
    mode: Literal["hard", "free"] = Field(default="hard", description="how strictly this is held")


def _mode_tag(value: object) -> str:
    if isinstance(value, Permutation) or (
        isinstance(value, dict) and any(str(key).lower() == "swap" for key in value)
    ):
        return "@swap"
    if isinstance(value, (Relaxed, HardWithin)):
        return "@relaxed" if isinstance(value, Relaxed) else "@hard"
    if isinstance(value, dict):
        return "@hard" if "hard" in value else "@relaxed"
    return "@name"


Mode = Annotated[
    Annotated[Literal["hard", "free"], Tag("@name")]
    | Annotated[Relaxed, Tag("@relaxed")]
    | Annotated[HardWithin, Tag("@hard")]
    | Annotated[Permutation, Tag("@swap")],
    Discriminator(_mode_tag),
]

LATER_MODES = ("soft", "tolerance", "augmented", "averaged")
GROUPS = {
    "atoms": ("O(3)", "SO(3)", "inversion"),
    "particles": ("O(3)", "SO(3)", "inversion"),
    "phase_space": ("SO(2)", "translation", "permutation"),
}


# --- constraints and targets -------------------------------------------------------------------------


class Hamiltonian(Block):
    """The flow is z' = (dH/dp, -dH/dq). A separable H = T(p) + V(q) allows leapfrog."""

    separable: Flag = Field(default=False, description="H = T(p) + V(q), which leapfrog needs")
    masses: tuple[Mass, ...] | None = Field(
        default=None, description="one per coordinate, needed by `kinetic` blocks"
    )
    integrator: Literal["leapfrog", "rk4"] = Field(default="rk4", description="how states are moved in time")
    dissipation: Literal["none"] = Field(default="none", description="friction; none in this version")


class Constraints(Block):
    """Laws that hold beside the symmetries."""

    hamiltonian: Hamiltonian | None = Field(
        default=None, description="the state follows Hamilton's equations (phase_space only)"
    )


Per = Literal["system", "node"]


class Target(Block):
    """What the model predicts: declared by `per`, `rep`, `unit`; derived by `gradient_of` or `flow_of`."""

    per: Per | None = Field(default=None, description="one value for a system, or for every node (atom)")
    rep: str | None = Field(default=None, description="how it transforms: `0e`, `1o`, ...")
    unit: UnitText | None = Field(default=None, description="its unit; labels in others are converted")
    form: Literal["cartesian", "irreps"] | None = Field(
        default=None,
        description="its numbers, in labels and predictions: a matrix 3x3 (`cartesian`, the usual one where `rep` "
        "is that of a matrix, such as `0e+2e`), or components of irreps one after another",
    )
    pool: Literal["sum", "mean"] | None = Field(
        default=None, description="per system: the sum over the nodes (the usual one), or their mean"
    )
    gradient_of: str | None = Field(default=None, description="the target that this one is a derivative of")
    wrt: str | None = Field(
        default=None, description="what the derivative is with respect to: `positions`, `strain` or an input"
    )
    scale: Annotated[float, Field(strict=True)] | None = Field(
        default=None, description="factor of the derivative: -1 for forces"
    )
    flow_of: Literal["hamiltonian"] | None = Field(
        default=None, description="dz/dt under the Hamiltonian of `constraints`"
    )

    @property
    def is_computed(self) -> bool:
        """Does the model compute it, and not a derivative of something?"""
        return self.gradient_of is None and self.flow_of is None

    @field_validator("rep", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _one_origin(self) -> Target:
        if self.gradient_of and self.flow_of:
            raise SpecValueError(
                "a target is either `gradient_of` or `flow_of` something, not both", help="keep one"
            )
        if self.gradient_of and not self.wrt:
            raise SpecValueError(
                "a gradient needs `wrt`",
                help="write `wrt: positions` (forces) or `wrt: strain` (stress)",
                code=Code.MISSING_KEY,
            )
        if self.pool and (self.gradient_of or self.flow_of or self.per == "node"):
            raise SpecValueError(
                "`pool` belongs to a target that is computed per system",
                help="remove it: derivatives and targets per node are not added up",
                code=Code.CONFLICTING_KEYS,
                at=("pool",),
            )
        if self.wrt and not self.gradient_of:
            raise SpecValueError(
                "`wrt` belongs to a gradient", help="add `gradient_of: energy`, or remove `wrt`"
            )
        return self


# --- tuning, deployment, export ----------------------------------------------------------------------


class Budget(Block):
    """How long a search may take."""

    minutes: Positive = Field(description="wall-clock minutes")


class Tune(Block):
    """What `equic tune` minimises, and how long it may take; `repeats` of the best give it a spread."""

    minimize: str = Field(description="SET.TARGET.STATISTIC, such as `validation.forces.rmse` (or `mae`)")
    trials: Count = Field(default=20, description="how many in all")
    budget: Budget | None = Field(default=None, description="stop early after this much time")
    epochs: Count | None = Field(default=None, description="of each trial; those of `train` if not given")
    repeats: Annotated[int, Field(ge=0, strict=True)] = Field(
        default=0, description="train the best this often again, with other seeds"
    )
    seed: Whole = Field(default=0, description="of the sampler")

    @field_validator("minimize", mode="before")
    @classmethod
    def _one(cls, value: object) -> object:
        if isinstance(value, list) and len(value) == 1:
            return value[0]
        if isinstance(value, list):
            raise SpecValueError(
                "`minimize` names several objectives, and a search has one",
                help=f"name one, such as `{clip(str(value[0])) if value else 'validation.energy.rmse'}`",
                code=Code.SEVERAL_OBJECTIVES,
            )
        return value


class Export(Block):
    """What `equic export` writes."""

    targets: tuple[Literal["pt2", "standalone"], ...] = Field(
        default=("pt2",), min_length=1, description="what to write: a compiled package, readable Python"
    )
    dtype: Literal["float32", "float64"] = Field(
        default="float64", description="of the exported weights and features"
    )


class Tabulate(Block):
    """Splines in the place of networks, each with the largest error that it may have."""

    radial: Annotated[float, Field(ge=1e-10, le=1e-2, strict=True)] = Field(
        description="largest error of a function of edge lengths and of its slope, relative to their largest values"
    )


class Deploy(Block):
    """What changes when a trained model is loaded to be used. Training and the stored weights are exact."""

    tabulate: Tabulate | None = Field(
        default=None, description="networks that see edge lengths (and species) alone become splines"
    )


class Spec(Block):
    """A whole spec. `model` is checked on its own, after its preset is filled in."""

    equic: Literal[1] = Field(description="the version of the language")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="names runs and files")
    system: System = Field(description="what is modelled")
    symmetry: dict[str, Mode] = Field(
        default={}, description="group → how strictly it is held; a group not named is free"
    )
    constraints: Constraints = Field(default=Constraints(), description="laws beside symmetry")
    targets: dict[str, Target] = Field(min_length=1, description="name → what is predicted")
    model: dict[str, Any] = Field(
        description="a preset (`architecture:`), blocks (`blocks:`) or ops (`graph:`)"
    )
    data: Data | None = Field(default=None, description="files of frames or states")
    train: Train = Field(default=Train(), description="how it is trained")
    tune: Tune | None = Field(default=None, description="how the values marked `search` are searched")
    deploy: Deploy = Field(default=Deploy(), description="what changes when a trained model is used")
    export: Export = Field(default=Export(), description="what is deployed")

    @field_validator("targets")
    @classmethod
    def _target_names(cls, targets: dict[str, Target]) -> dict[str, Target]:
        check_names(targets)
        return targets

    @field_validator("symmetry", mode="before")
    @classmethod
    def _one_mode(cls, value: object) -> object:
        for group, mode in value.items() if isinstance(value, dict) else ():
            named = tuple(mode) if isinstance(mode, dict) else (mode,)
            for key in named:
                if key in LATER_MODES:
                    raise SpecValueError(
                        f"`{group}` cannot be held `{key}` in this version",
                        help="write `hard`, `free` or `{relaxed: 0.1}`",
                        code=Code.MODE_NOT_OFFERED,
                        at=(group, key) if isinstance(mode, dict) else (group,),
                    )
            if len(named) > 1 and set(named) <= {"relaxed", "hard"}:
                raise SpecValueError(
                    f"`{group}` is held in two ways: {' and '.join(f'`{key}`' for key in named)}",
                    help="keep one of them",
                    code=Code.TWO_MODES,
                    at=(group,),
                )
        return value
