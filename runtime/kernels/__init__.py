"""Fast forms of the steps that take the time: generated C, called through registered operators, or plain torch."""

from __future__ import annotations

from .fusion import Form, Fused, fuse
from .ops import toolchain
from .toolchain import KernelError, Toolchain, find_toolchain

__all__ = ["Form", "Fused", "KernelError", "Toolchain", "find_toolchain", "fuse", "toolchain"]
