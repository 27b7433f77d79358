"""Gradients of a loss by the weights, written as C."""

from .builder import DualBuilder

__all__ = ["DualBuilder"]
