"""Level 2 of the model section: its blocks, one after another."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..ir.ops.activations import Activation
from ..ir.ops.base import MAX_SIZE, IrrepsField, Size
from .block_parts import ActSpec, Degree, DenseUpdate, MessageSpec, PowerSpec, Reduction, SphereMixer, Widths
from .schema_parts import Block

MOST_COPIES = 100


class MpBlock(Block):
    """One message-passing layer: up, message, reduce, mix, power, down, skip, act."""

    kind: Literal["mp"] = Field(description="one message-passing layer")
    carry: IrrepsField = Field(description="irreps of the features that go to the next layer")
    message: MessageSpec = Field(description="what neighbours send")
    mix: Literal["none", "species"] = Field(
        default="none", description="a linear map by species after the sum"
    )
    power: PowerSpec | None = Field(
        default=None, description="many-body features: symmetric powers of the sum"
    )
    update: Literal["linear"] | DenseUpdate = Field(
        default="linear", description="from the sum to the new features"
    )
    skip: Literal["none", "identity", "linear", "species"] = Field(
        default="none", description="what of the old features is added"
    )
    act: ActSpec | None = Field(default=None, description="a nonlinearity at the end")
    mixer: SphereMixer | None = Field(
        default=None, description="a network on the sphere after it, which keeps rotations approximately"
    )


class PainnBlock(Block):
    """One layer of PaiNN: scalars and vectors that are exchanged with neighbours, and then with each other."""

    kind: Literal["painn"] = Field(description="scalars and vectors in exchange")
    activation: Activation = Field(default="silu", description="of its networks")
    reduce: Reduction = Field(default="sum", description="how messages are added up")


class EgnnBlock(Block):
    """One layer of EGNN, with features of higher degree where `steerable`.

    Messages are dense networks of the features at both ends, of the squared distance, and of the inner products
    of the features of higher degree. They move the positions along the edges.
    """

    kind: Literal["egnn"] = Field(description="messages of invariants that move positions")
    steerable: bool = Field(
        default=False, description="whether atoms have features of every degree of the harmonics too"
    )
    activation: Activation = Field(default="silu", description="of its networks")
    attention: bool = Field(
        default=False, description="whether messages are weighted by a sigmoid of themselves"
    )
    residual: bool = Field(default=True, description="whether the old features are added to the new ones")
    move: bool = Field(default=True, description="whether positions are moved")
    step: Annotated[float, Field(gt=0)] = Field(default=0.01, description="what the moves are multiplied by")
    reduce: Reduction = Field(default="average", description="how messages are added up")


class AllegroBlock(Block):
    """One layer of Allegro: scalars and tensors of every ordered pair of neighbours; nothing passes between atoms."""

    kind: Literal["allegro"] = Field(description="scalars and tensors of pairs")
    channels: Size = Field(description="copies of every irrep of the tensors")
    tensors: IrrepsField = Field(description="what products of tensors are kept, as far as they reach it")
    latent: Widths = Field(
        default=(64, 64), min_length=1, description="widths of the networks of the scalars, theirs the last"
    )
    readout: Widths = Field(
        default=(32,), description="hidden widths of the network that atoms read pairs by"
    )
    activation: Activation = Field(default="silu", description="of these networks")
    mixing: Annotated[float, Field(gt=0)] = Field(
        default=0.5, description="how much of the new scalars is added"
    )


class DenseAllegroBlock(Block):
    """One layer of Allegro as nequip-allegro 0.8 has it: every layer reads the scalars of all before it."""

    kind: Literal["allegro_dense"] = Field(description="scalars and tensors of pairs, densely connected")
    channels: Size = Field(description="copies of every irrep of the tensors")
    scalars: Size = Field(default=64, description="scalars that every layer adds")
    tensors: IrrepsField = Field(
        description="which irreps tensors may have; those that reach no scalar of the last layer are left out"
    )
    embedding: Annotated[int, Field(ge=2, le=MAX_SIZE, strict=True, multiple_of=2)] = Field(
        default=64, description="numbers that the two species and the length are embedded in"
    )
    start: Widths = Field(default=(64,), description="hidden widths of the network of the embedding")
    latent: Widths = Field(
        default=(64,), min_length=1, description="hidden widths of the network of the scalars"
    )
    readout: Widths = Field(default=(32,), description="hidden widths of the network of every pair's energy")
    activation: Activation = Field(default="silu", description="of these networks")


class SteerableBlock(Block):
    """One layer of SEGNN: messages and updates by gated products with the harmonics of edges and nodes."""

    kind: Literal["steerable"] = Field(description="gated products with harmonics of edges and nodes")
    irreps: IrrepsField = Field(description="of the features, as far as products reach them")
    activation: Activation = Field(default="silu", description="of invariants; gates are sigmoids")
    reduce: Reduction = Field(default="sum", description="how messages are added up")


PerSpecies = Annotated[float, Field(gt=0)] | tuple[Annotated[float, Field(gt=0)], ...]


class DescriptorBlock(Block):
    """The descriptor of DeepPot-SE and its fitting network; the features must have one radial function."""

    kind: Literal["descriptor"] = Field(description="inner products of embedded neighbours")
    embedding: Widths = Field(
        default=(25, 50, 100), min_length=1, description="widths of the network of each pair of species"
    )
    axis: Size = Field(default=16, description="columns of the matrix of inner products")
    mean: float | tuple[float, ...] = Field(
        default=0.0, description="what is subtracted from the switch by r, for every species if several"
    )
    size: PerSpecies = Field(
        default=0.2, description="what the difference is divided by, for every species if several"
    )
    spread: PerSpecies = Field(
        default=(), description="what the directions are divided by; `size` if the list is empty"
    )
    sel: tuple[Annotated[int, Field(ge=0, strict=True)], ...] = Field(
        default=(),
        description="places for neighbours of every species: their number divides the sum, and those that are free "
        "add what neighbours at the cutoff do",
    )
    one_side: bool = Field(
        default=False, description="whether the first network depends on the neighbour's species alone"
    )
    timestep: Literal["none", "embedding", "fitting", "both"] = Field(
        default="none", description="which networks multiply what each layer adds by learned numbers"
    )
    fitting: Widths = Field(default=(120, 120, 120), description="widths of the network of each species")
    out: Size = Field(default=1, description="how many numbers of every atom it gives")
    activation: Activation = Field(default="tanh", description="of both networks")
    reduce: Reduction = Field(
        default="average", description="how neighbours are added up where `sel` does not say it"
    )


class EquiformerBlock(Block):
    """One layer of EquiformerV2: attention by maps in the frames of edges, and a feed-forward network."""

    kind: Literal["equiformer"] = Field(description="attention in the frames of edges")
    irreps: IrrepsField = Field(description="of the features")
    hidden: Size = Field(default=64, description="copies of every irrep of a message between its two maps")
    heads: Size = Field(default=4, description="of the attention")
    alpha: Size = Field(default=16, description="features of every head that its weights are made of")
    values: Size = Field(default=16, description="copies of every irrep that a head adds up")
    forward: Size = Field(default=64, description="copies of every irrep inside the feed-forward network")
    radial: Widths = Field(
        default=(64, 64),
        min_length=1,
        description="hidden widths of the networks of edges; the last is that of species",
    )
    mmax: Degree | None = Field(
        default=None, description="highest order about the edge that its maps mix; all if not given"
    )
    activation: Literal["gate", "s2_product"] = Field(
        default="gate", description="by gates, or by products of functions on the sphere"
    )
    keep: Literal["SO(3)", "O(3)"] = Field(
        default="SO(3)", description="whether the maps in the frames of edges keep mirror images too"
    )
    normed: bool = Field(
        default=False, description="whether the result is normalised too, as that of the last layer is"
    )


class PetBlock(Block):
    """One layer of the Point Edge Transformer: a transformer over the edges of every atom, then their exchange."""

    kind: Literal["pet"] = Field(description="transformers over the edges of every atom")
    channels: Size = Field(default=128, description="numbers of every edge")
    node: Size = Field(default=256, description="numbers of every atom")
    heads: Size = Field(default=8, description="of the attention")
    forward: Size = Field(default=256, description="hidden width of its feed-forward networks")
    depth: Annotated[int, Field(ge=1, le=MOST_COPIES)] = Field(
        default=2, description="layers of the transformer between two exchanges"
    )
    order: Literal["pre", "post"] = Field(
        default="pre", description="norms before attention and networks, or after their sums"
    )
    norm: Literal["rms", "layer"] = Field(default="rms", description="which norms the transformer has")
    eps: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.1920929e-07, description="what they add to mean squares"
    )
    activation: Literal["swiglu", "silu"] = Field(
        default="swiglu", description="of its feed-forward networks: products with gates, or silu"
    )
    temperature: Annotated[float, Field(gt=0)] = Field(default=1.0, description="what logits are divided by")
    exchange: Literal["feedforward", "residual"] = Field(
        default="feedforward",
        description="what passes between edges ij and ji: a network of both added, or the mean of message and answer",
    )
    readout: Widths = Field(
        default=(128, 128), description="widths of the networks that atoms and edges are read by"
    )


class ActBlock(Block):
    """A nonlinearity on the carried features."""

    kind: Literal["act"] = Field(description="a nonlinearity on the carried features")
    form: Literal["pointwise", "gate", "norm"] = Field(
        default="pointwise", description="on every number, by gates, or on norms"
    )
    f: Activation = Field(default="silu", description="the function")


class LinearBlock(Block):
    """An equivariant linear map of the carried features."""

    kind: Literal["linear"] = Field(description="an equivariant linear map")
    out: IrrepsField = Field(description="irreps of the result")


class RepeatBlock(Block):
    """The same block `times` times; `first` and `last` change keys of these copies."""

    kind: Literal["repeat"] = Field(description="the same block several times")
    times: Annotated[int, Field(ge=1, le=MOST_COPIES, strict=True)] = Field(description="how often")
    block: dict[str, object] = Field(description="the block")
    first: dict[str, object] = Field(default={}, description="keys of the first copy that differ")
    last: dict[str, object] = Field(default={}, description="keys of the last copy that differ")


Part = Literal["coordinates", "momenta"]


class MlpBlock(Block):
    """A dense network on (parts of) the state: a term of the energy, or the whole field."""

    kind: Literal["mlp"] = Field(description="a dense network")
    of: tuple[Part, ...] = Field(
        min_length=1, default=("coordinates", "momenta"), description="what it reads"
    )
    hidden: Widths = Field(default=(200, 200), description="hidden widths")
    activation: Activation = Field(default="tanh", description="its nonlinearity")


class KineticBlock(Block):
    """sum_i p_i^2 / (2 m_i), with the masses of `constraints.hamiltonian`."""

    kind: Literal["kinetic"] = Field(description="kinetic energy")


class PairsBlock(Block):
    """sum_(i<j) phi(|q_i - q_j|^2): one network for every pair of coordinates."""

    kind: Literal["pairs"] = Field(description="a pair potential")
    hidden: Widths = Field(default=(64, 64), description="hidden widths")
    activation: Activation = Field(default="tanh", description="its nonlinearity")


# after each of these the features are read
LAYER_BLOCKS = (
    MpBlock,
    PainnBlock,
    EgnnBlock,
    AllegroBlock,
    DenseAllegroBlock,
    SteerableBlock,
    DescriptorBlock,
    EquiformerBlock,
    PetBlock,
)
LayerBlock = (
    MpBlock
    | PainnBlock
    | EgnnBlock
    | AllegroBlock
    | DenseAllegroBlock
    | SteerableBlock
    | DescriptorBlock
    | EquiformerBlock
    | PetBlock
)
AtomsBlock = Annotated[LayerBlock | ActBlock | LinearBlock, Field(discriminator="kind")]
StateBlock = Annotated[MlpBlock | KineticBlock | PairsBlock, Field(discriminator="kind")]
