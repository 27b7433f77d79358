"""Models as calculators of other programs' structures."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ase_calculator import EquicCalculator

__all__ = ["EquicCalculator"]


def __getattr__(name: str) -> Any:
    """Import ASE only when its calculator is asked for."""
    if name == "EquicCalculator":
        from .ase_calculator import EquicCalculator

        return EquicCalculator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
