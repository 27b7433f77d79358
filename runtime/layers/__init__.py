"""The layers a plan may name. One class (or a function that picks one) for each."""

from __future__ import annotations

from collections.abc import Callable

from .act import act
from .algebra import Add, Concat, Difference, Inner, Norms, Scale, Slice, Weigh
from .arrange import Arrange
from .attend import attend
from .base import Layer, Params
from .bodies import Distances
from .by_species import AllSpecies, Lookup
from .cross import Cross
from .crowding import Dilute, Saturate
from .density import Density
from .derivatives import Grad, Poisson
from .filters import Filters, Unfilled
from .frames import frame
from .geometry import Length, Relative, SphericalHarmonics
from .indexing import Tokens, gather, reduce
from .inputs import Embed, Input, PairKind, ShiftScale
from .linear import Linear
from .merged import Merged, Part
from .mlp import Mlp
from .networks import Bias, Gram, Keep, Ones, Resnet, SumBlocks
from .norm import norm
from .normalize import Normalize, Spread
from .orbit import Average, Orbit
from .pairs import Transform, Zbl
from .power_recursive import power
from .product import product
from .radial import Envelope, Radial
from .so2 import So2Linear
from .sphere import Sample, Unsample
from .table import Table
from .tensor import Rescale, Tensor
from .turn import turn

LAYERS: dict[str, Callable[[Params], Layer]] = {
    "input": Input,
    "relative": Relative,
    "length": Length,
    "radial": Radial,
    "envelope": Envelope,
    "transform": Transform,
    "zbl": Zbl,
    "sph": SphericalHarmonics,
    "embed": Embed,
    "pair_kind": PairKind,
    "linear": Linear,
    "mlp": Mlp,
    "gather": gather,
    "tokens": Tokens,
    "product": product,
    "reduce": reduce,
    "attend": attend,
    "power": power,
    "frame": frame,
    "to_frame": turn,
    "from_frame": turn,
    "so2": So2Linear,
    "orbit": Orbit,
    "average": Average,
    "act": act,
    "norm": norm,
    "sample": Sample,
    "unsample": Unsample,
    "add": Add,
    "normalize": Normalize,
    "spread": Spread,
    "shift_scale": ShiftScale,
    "rescale": Rescale,
    "tensor": Tensor,
    "grad": Grad,
    "concat": Concat,
    "arrange": Arrange,
    "slice": Slice,
    "difference": Difference,
    "inner": Inner,
    "norms": Norms,
    "gram": Gram,
    "resnet": Resnet,
    "filters": Filters,
    "unfilled": Unfilled,
    "keep": Keep,
    "sum_blocks": SumBlocks,
    "ones": Ones,
    "bias": Bias,
    "cross": Cross,
    "distances": Distances,
    "scale": Scale,
    "weigh": Weigh,
    "saturate": Saturate,
    "dilute": Dilute,
    "poisson": Poisson,
    "all_species": AllSpecies,
    "lookup": Lookup,
    "density": Density,
    "merged": Merged,
    "part": Part,
}

# Layers that no op of the language is lowered to: the runtime itself puts them into plans.
OWN_LAYERS: dict[str, Callable[[Params], Layer]] = {"table": Table}
