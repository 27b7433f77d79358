"""The layers a plan may name. One class (or a function that picks one) for each."""

from __future__ import annotations

from collections.abc import Callable

from .algebra import Add, Concat, Difference, Inner, Scale, Slice
from .base import Layer, Params
from .derivatives import Grad, Poisson
from .indexing import Gather, reduce
from .inputs import Embed, Input, ShiftScale
from .mlp import Mlp

LAYERS: dict[str, Callable[[Params], Layer]] = {
    "input": Input,
    "embed": Embed,
    "mlp": Mlp,
    "gather": Gather,
    "reduce": reduce,
    "add": Add,
    "shift_scale": ShiftScale,
    "grad": Grad,
    "concat": Concat,
    "slice": Slice,
    "difference": Difference,
    "inner": Inner,
    "scale": Scale,
    "poisson": Poisson,
}
