"""One class per op; `OPS` is the closed vocabulary of level-3 graphs."""

from typing import Annotated

from pydantic import Field

from .act import Act
from .add import Add
from .arrange import Arrange
from .attend import Attend
from .base import Dial, Op, Scope, Site
from .bodies import Distances
from .by_species import AllSpecies, Lookup
from .concat import Concat
from .constants import Bias, Ones
from .cross import Cross
from .crowding import Dilute, Saturate
from .density import Density
from .difference import Difference
from .filters import Filters, Unfilled
from .frame import Frame
from .from_frame import FromFrame
from .gather import Gather
from .grad import Grad
from .gram import Gram
from .inner import Inner
from .keep import Keep
from .linear import Linear
from .merged import Merged, Part
from .mlp import Mlp
from .norm import Norm
from .normalize import Normalize
from .norms import Norms
from .orbit import Average, Orbit
from .pairs import Transform, Zbl
from .poisson import Poisson
from .power import Power
from .product import Product
from .radial import Envelope, Radial
from .reduce import Reduce
from .rescale import Rescale
from .resnet import Resnet
from .sample import Sample
from .scale import Scale
from .shift_scale import ShiftScale
from .slice import Slice
from .so2 import So2
from .source import Embed, Input, Length, PairKind, Relative, Sph
from .spread import Spread
from .sum_blocks import SumBlocks
from .tensor import Tensor
from .to_frame import ToFrame
from .tokens import Tokens
from .unsample import Unsample
from .weigh import Weigh

OPS: tuple[type[Op], ...] = (
    Input,
    Relative,
    Length,
    Radial,
    Envelope,
    Transform,
    Zbl,
    Sph,
    Embed,
    Normalize,
    Spread,
    PairKind,
    Linear,
    Mlp,
    Act,
    Norm,
    Sample,
    Unsample,
    Product,
    Power,
    Frame,
    ToFrame,
    FromFrame,
    So2,
    Orbit,
    Average,
    Gather,
    Tokens,
    Reduce,
    Attend,
    Add,
    Slice,
    Concat,
    Arrange,
    Difference,
    Inner,
    Norms,
    Gram,
    Resnet,
    Filters,
    Unfilled,
    Keep,
    SumBlocks,
    Ones,
    Bias,
    Cross,
    Distances,
    Scale,
    Weigh,
    Saturate,
    Dilute,
    ShiftScale,
    Rescale,
    Tensor,
    Poisson,
    Grad,
    AllSpecies,
    Lookup,
    Density,
    Merged,
    Part,
)

AnyOp = Annotated[
    Input
    | Relative
    | Length
    | Radial
    | Envelope
    | Transform
    | Zbl
    | Sph
    | Embed
    | Normalize
    | Spread
    | PairKind
    | Linear
    | Mlp
    | Act
    | Norm
    | Sample
    | Unsample
    | Product
    | Power
    | Frame
    | ToFrame
    | FromFrame
    | So2
    | Orbit
    | Average
    | Gather
    | Tokens
    | Reduce
    | Attend
    | Add
    | Slice
    | Concat
    | Arrange
    | Difference
    | Inner
    | Norms
    | Gram
    | Resnet
    | Filters
    | Unfilled
    | Keep
    | SumBlocks
    | Ones
    | Bias
    | Cross
    | Distances
    | Scale
    | Weigh
    | Saturate
    | Dilute
    | ShiftScale
    | Rescale
    | Tensor
    | Poisson
    | Grad
    | AllSpecies
    | Lookup
    | Density
    | Merged
    | Part,
    Field(discriminator="kind"),
]

__all__ = ["OPS", "AnyOp", "Dial", "Op", "Scope", "Site", *(op.__name__ for op in OPS)]
