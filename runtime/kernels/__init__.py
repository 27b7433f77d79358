"""Fast forms of the steps that take the time: generated C, called through registered operators."""

from __future__ import annotations

from .fusion import Fused, fuse
from .ops import toolchain
from .toolchain import KernelError, Toolchain, find_toolchain

__all__ = ["Fused", "KernelError", "Toolchain", "find_toolchain", "fuse", "toolchain"]
