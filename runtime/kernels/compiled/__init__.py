"""A model's step as one program in C: kernels, matrix products and the way back, with nothing between them."""

from .program import CompiledStep, UnfitError, compiled_step

__all__ = ["CompiledStep", "UnfitError", "compiled_step"]
