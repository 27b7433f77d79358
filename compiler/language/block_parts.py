"""What the blocks of level 2 are made of: features of edges and nodes, messages, activations, powers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..ir.ops.activations import Activation
from ..ir.ops.base import IrrepsField, Size
from ..ir.ops.radial import Basis, EnvelopeField
from .schema_parts import Block

Degree = Annotated[int, Field(ge=0, le=8)]
Widths = tuple[Size, ...]
Reduction = Literal["average", "root_average", "sum", "mean"]


class RadialFeatures(Block):
    """Functions of the edge length, and how they end at the cutoff."""

    basis: Basis = Field(default="bessel", description="the family of functions")
    count: Size = Field(default=8, description="how many functions")
    envelope: EnvelopeField | Literal["none"] = Field(
        default=5, description="what ends them at the cutoff: a polynomial of this order, or another shape"
    )
    distance: Literal["plain", "agnesi", "soft"] = Field(
        default="plain",
        description="what they are functions of: the length, or that on a scale of the two covalent radii",
    )
    trainable: bool = Field(default=False, description="whether frequencies, centres or widths are learned")
    ends: Literal["functions", "weights"] = Field(
        default="functions",
        description="what the envelope multiplies: the functions, or the weights made of them",
    )

    @property
    def shape(self) -> EnvelopeField | None:
        """The envelope as an op wants it."""
        return None if self.envelope == "none" else self.envelope


class Features(Block):
    """What every atom and edge starts with."""

    node: IrrepsField = Field(description="irreps of every atom, from its species")
    radial: RadialFeatures = Field(default=RadialFeatures(), description="functions of the edge length")
    harmonics: Degree = Field(default=3, description="highest degree of the spherical harmonics of an edge")


class ActSpec(Block):
    """An activation: pointwise (on invariants), by gates, or by norms."""

    form: Literal["pointwise", "gate", "norm"] = Field(
        default="pointwise", description="on every number, by gates, or on norms"
    )
    f: Activation = Field(default="silu", description="the function")
    gate: Activation = Field(default="sigmoid", description="that of the gates")
    odd: Literal["tanh"] | None = Field(
        default=None, description="that of odd scalars (`0o`), which are gated without it"
    )


class PowerSpec(Block):
    """Symmetric powers of the summed messages: many-body features."""

    order: Annotated[int, Field(ge=1, le=4)] = Field(
        description="highest degree of the symmetric power (body order minus one)"
    )
    of: Literal["mixed", "sums"] = Field(
        default="mixed",
        description="what is multiplied: linear combinations of the sums, or the sums themselves",
    )
    basis: Literal["coupled", "recursive"] = Field(
        default="coupled",
        description="the same functions by orthonormal maps, or by one product after another",
    )


class RadialMlp(Block):
    """Weights of a message by a dense network of the radial functions."""

    kind: Literal["mlp"] = Field(description="a dense network of the radial functions")
    widths: Widths = Field(default=(64,), description="hidden widths")
    activation: Activation = Field(default="silu", description="its nonlinearity")
    bias: bool = Field(default=False, description="whether its layers have a bias")


class RadialLinear(Block):
    """Weights of a message that are sums of the radial functions."""

    kind: Literal["linear"] = Field(description="sums of the radial functions")
    per: Literal["all", "pair"] = Field(
        default="all", description="one set of coefficients, or one for each pair of species"
    )


RadialWeights = Widths | Annotated[RadialMlp | RadialLinear, Field(discriminator="kind")]


class MessageSpec(Block):
    """Messages: features of the source times harmonics, weighted by functions of the edge length."""

    irreps: IrrepsField = Field(description="of a message")
    unreachable: Literal["refuse", "drop"] = Field(
        default="refuse", description="what of `irreps` no product reaches: a mistake, or left out"
    )
    radial: RadialWeights = Field(
        default=(64, 64, 64), description="the weights: hidden widths of a network, or another form"
    )
    activation: Activation = Field(default="silu", description="of a network given by its widths")
    reduce: Reduction | Literal["density"] = Field(
        default="average",
        description="how messages are added up: divided by the average number of neighbours, by its root, "
        "not at all, by the number at hand, or by one plus a learned number of those at hand",
    )


class DenseUpdate(Block):
    """A dense network on the summed messages, which must be invariants."""

    kind: Literal["mlp"] = Field(description="a dense network; the features must be invariants")
    widths: Widths = Field(default=(64,), description="hidden widths")
    activation: Activation = Field(default="silu", description="its nonlinearity")
    bias: bool = Field(default=True, description="whether its layers have a bias")


class SphereMixer(Block):
    """A dense network on the values that features have on a sphere, added to them."""

    widths: Widths = Field(default=(64,), description="its hidden widths")
    activation: Activation = Field(default="silu", description="its nonlinearity")
    degree: Annotated[int, Field(ge=1, le=48)] | None = Field(
        default=None,
        description="to which sums over the grid are exact; four times that of the features if not given",
    )
