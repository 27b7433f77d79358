"""A model's step as one program in C: kernels, matrix products and the way back, with nothing between them."""

from .binding import UnfitError
from .program import CompiledStep, compiled_step
from .training import Trainable, WeightGradient, weight_gradient

__all__ = [
    "CompiledStep",
    "Trainable",
    "UnfitError",
    "WeightGradient",
    "compiled_step",
    "weight_gradient",
]
