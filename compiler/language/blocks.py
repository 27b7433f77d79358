"""Level 2 and 3 of the model section: features, blocks and heads, or an explicit graph of ops.

A preset (level 1) is a file of level 2 with parameters; `model: {architecture: NAME, ...}` fills them in.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..ir.ops import AnyOp
from ..ir.ops.base import IrrepsField
from ..ir.ops.mlp import Activation
from .schema import Block, Count

Degree = Annotated[int, Field(ge=0, le=8)]
Widths = tuple[Count, ...]


class RadialFeatures(Block):
    """Bessel functions of the edge length with a polynomial envelope of order `envelope`."""

    basis: Literal["bessel"] = "bessel"
    count: Count = 8
    envelope: Annotated[int, Field(ge=2)] = 5


class Features(Block):
    """What every atom and edge starts with."""

    node: IrrepsField
    radial: RadialFeatures = RadialFeatures()
    harmonics: Degree = 3


class ActSpec(Block):
    """An activation: pointwise (on invariants), by gates, or by norms."""

    form: Literal["pointwise", "gate", "norm"] = "pointwise"
    f: Activation = "silu"


class PowerSpec(Block):
    order: Annotated[int, Field(ge=1, le=4)]


class MessageSpec(Block):
    """Messages: features of the source times harmonics, weighted by an MLP of the edge length."""

    irreps: IrrepsField
    radial: Widths = (64, 64, 64)
    activation: Activation = "silu"
    reduce: Literal["average", "sum"] = "average"


class MpBlock(Block):
    """One message-passing layer: up, message, reduce, mix, power, down, skip, act."""

    kind: Literal["mp"]
    carry: IrrepsField
    message: MessageSpec
    mix: Literal["none", "species"] = "none"
    power: PowerSpec | None = None
    skip: Literal["none", "linear", "species"] = "none"
    act: ActSpec | None = None


class ActBlock(Block):
    """A nonlinearity on the carried features."""

    kind: Literal["act"]
    form: Literal["pointwise", "gate", "norm"] = "pointwise"
    f: Activation = "silu"


class LinearBlock(Block):
    """An equivariant linear map of the carried features."""

    kind: Literal["linear"]
    out: IrrepsField


class RepeatBlock(Block):
    """The same block `times` times; `first` changes keys of the first copy."""

    kind: Literal["repeat"]
    times: Count
    block: dict[str, object]
    first: dict[str, object] = Field(default={})


Part = Literal["coordinates", "momenta"]


class MlpBlock(Block):
    """A dense network on (parts of) the state: a term of the energy, or the whole field."""

    kind: Literal["mlp"]
    of: tuple[Part, ...] = ("coordinates", "momenta")
    hidden: Widths = (200, 200)
    activation: Activation = "tanh"


class KineticBlock(Block):
    """sum_i p_i^2 / (2 m_i), with the masses of `constraints.hamiltonian`."""

    kind: Literal["kinetic"]


class PairsBlock(Block):
    """sum_(i<j) phi(|q_i - q_j|^2): one network for every pair of coordinates."""

    kind: Literal["pairs"]
    hidden: Widths = (64, 64)
    activation: Activation = "tanh"


AtomsBlock = Annotated[MpBlock | ActBlock | LinearBlock, Field(discriminator="kind")]
StateBlock = Annotated[MlpBlock | KineticBlock | PairsBlock, Field(discriminator="kind")]


class EnergyHead(Block):
    """Reads every layer: linear maps to one invariant, the last through a small network."""

    read: Literal["linear"] = "linear"
    last: Widths = (16,)
    activation: Activation = "silu"


class AtomsModel(Block):
    """Level 2 for `kind: atoms`."""

    features: Features
    blocks: tuple[AtomsBlock, ...] = Field(min_length=1)
    heads: dict[str, EnergyHead] = Field(default={"energy": EnergyHead()})


class StateModel(Block):
    """Level 2 for `kind: phase_space`: terms that are added up."""

    blocks: tuple[StateBlock, ...] = Field(min_length=1)


class GraphModel(Block):
    """Level 3: named ops; a target is computed by the value of its name."""

    graph: dict[str, AnyOp] = Field(min_length=1)


class Parameter(Block):
    """One number (or list of numbers) of a preset that a spec may set."""

    type: Literal["int", "float", "ints", "choice", "bool"]
    default: int | float | str | bool | tuple[int, ...]
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] | None = None
    help: str


class Preset(Block):
    """A file of specs/presets: what it is for, its parameters, and its model at level 2."""

    preset: str
    kind: Literal["atoms", "phase_space"]
    help: str
    cites: tuple[str, ...]
    parameters: dict[str, Parameter]
    model: dict[str, object]
