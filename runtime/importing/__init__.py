"""Models of other programs: their weights, as arrays, become weights of ours."""

from .mace import import_mace, mace_spec, mace_weights

__all__ = ["import_mace", "mace_spec", "mace_weights"]
