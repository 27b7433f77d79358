"""Models as calculators of other programs' structures."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ase_calculator import EquicCalculator
    from .distance_watch import OutsideRangeWarning
    from .torch_sim import torch_sim_model

__all__ = ["EquicCalculator", "OutsideRangeWarning", "torch_sim_model"]


def __getattr__(name: str) -> Any:
    """Import ASE only when its calculator is asked for."""
    if name == "EquicCalculator":
        from .ase_calculator import EquicCalculator

        return EquicCalculator
    if name == "OutsideRangeWarning":
        from .distance_watch import OutsideRangeWarning

        return OutsideRangeWarning
    if name == "torch_sim_model":
        from .torch_sim import torch_sim_model

        return torch_sim_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
