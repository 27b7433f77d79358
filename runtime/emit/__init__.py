"""A plan as Python source: one readable file that runs with torch alone."""

from .torch_source import emit_torch

__all__ = ["emit_torch"]
