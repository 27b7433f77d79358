"""One class per op; `OPS` is the closed vocabulary of level-3 graphs."""

from typing import Annotated

from pydantic import Field

from .algebra import Add, Concat, Difference, Gather, Inner, Reduce, Scale, ShiftScale, Slice
from .base import Dial, Op, Scope, Site
from .bodies import Distances
from .linear import Linear
from .mlp import Act, Grad, Mlp, Poisson
from .product import Power, Product
from .source import Embed, Input, Length, Radial, Relative, Sph

OPS: tuple[type[Op], ...] = (
    Input,
    Relative,
    Length,
    Radial,
    Sph,
    Embed,
    Linear,
    Mlp,
    Act,
    Product,
    Power,
    Gather,
    Reduce,
    Add,
    Slice,
    Concat,
    Difference,
    Inner,
    Distances,
    Scale,
    ShiftScale,
    Poisson,
    Grad,
)

AnyOp = Annotated[
    Input
    | Relative
    | Length
    | Radial
    | Sph
    | Embed
    | Linear
    | Mlp
    | Act
    | Product
    | Power
    | Gather
    | Reduce
    | Add
    | Slice
    | Concat
    | Difference
    | Inner
    | Distances
    | Scale
    | ShiftScale
    | Poisson
    | Grad,
    Field(discriminator="kind"),
]

__all__ = ["OPS", "AnyOp", "Dial", "Op", "Scope", "Site", *(op.__name__ for op in OPS)]
