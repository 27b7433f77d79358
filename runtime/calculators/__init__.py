"""Models as calculators of other programs' structures."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ase_calculator import EquicCalculator
    from .distance_watch import OutsideRangeWarning

__all__ = ["EquicCalculator", "OutsideRangeWarning"]


def __getattr__(name: str) -> Any:
    """Import ASE only when its calculator is asked for."""
    if name == "EquicCalculator":
        from .ase_calculator import EquicCalculator

        return EquicCalculator
    if name == "OutsideRangeWarning":
        from .distance_watch import OutsideRangeWarning

        return OutsideRangeWarning
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
