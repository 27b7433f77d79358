"""Neighbour lists and the inputs of a model."""

from .inputs import model_inputs, stack_frames
from .lists import neighbor_list
from .verlet import VerletList

__all__ = ["VerletList", "model_inputs", "neighbor_list", "stack_frames"]
