"""Training in less memory: values of edges are made again on the way back (activation checkpointing)."""

from .blocks import Block, blocks_of
from .functions import Recomputed
from .parts import parts_of

__all__ = ["Block", "Recomputed", "blocks_of", "parts_of"]
