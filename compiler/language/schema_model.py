"""The model section at level 2 (features, blocks and heads) and level 3 (a graph of ops), and files of presets.

A preset (level 1) is a file of level 2 with parameters; `model: {architecture: NAME, ...}` fills them in.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..ir.ops import AnyOp
from ..ir.ops.activations import Activation
from ..ir.ops.radial import Order
from .block_parts import Features, Widths
from .blocks import AtomsBlock, StateBlock
from .schema_parts import Block


class Head(Block):
    """Reads every layer that carries what the target is made of: linear maps, the last through a small network.

    That network is gated where the target is not an invariant: `last` counts copies of each of its irreps.
    """

    read: Literal["linear"] = Field(default="linear", description="how each layer is read")
    layers: Literal["all", "last"] = Field(default="all", description="which layers are read")
    last: Widths = Field(default=(16,), description="hidden widths of the last layer's network")
    bias: bool = Field(default=False, description="whether its hidden layers have a bias")
    activation: Activation = Field(default="silu", description="of that network")
    scale: Literal["one", "species"] = Field(
        default="one",
        description="of an energy: whether scale and shift, from the data, are one for each species",
    )


class Repulsion(Block):
    """What is added to the energy for every pair of atoms that are near, whatever is learned."""

    form: Literal["none", "zbl"] = Field(
        default="none", description="nothing, or that of screened nuclei (Ziegler, Biersack, Littmark)"
    )
    envelope: Order = Field(
        default=6, description="of the polynomial that ends it where the covalent radii touch"
    )
    strength: Annotated[float, Field(ge=0)] = Field(default=1.0, description="what it is multiplied by")


class AtomsModel(Block):
    """Level 2 for `kind: atoms`."""

    features: Features = Field(description="what every atom and edge starts with")
    blocks: tuple[AtomsBlock, ...] = Field(min_length=1, description="layers, one after another")
    heads: dict[str, Head] = Field(
        default={}, description="target → how it is read; `default` stands for those not named"
    )
    repulsion: Repulsion = Field(default=Repulsion(), description="what is added to the energy")


class StateModel(Block):
    """Level 2 for `kind: phase_space`: terms that are added up."""

    blocks: tuple[StateBlock, ...] = Field(min_length=1, description="terms that are added up")


class GraphModel(Block):
    """Level 3: named ops; a target is computed by the value of its name."""

    graph: dict[str, AnyOp] = Field(min_length=1, description="name → op")


class Parameter(Block):
    """One number (or list of numbers) of a preset that a spec may set; `floats` may be one number, too."""

    type: Literal["int", "float", "ints", "floats", "choice", "bool"]
    default: int | float | str | bool | tuple[int, ...] | tuple[float, ...]
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
