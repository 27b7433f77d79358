"""A value while a program of gradients by weights is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..slots import Slot


@dataclass(slots=True)
class Dual:
    """A value, its derivative along the direction (None where it does not move), and the way back.

    `pull` takes the gradients by both, either None; None where no weight has a say in the value.
    """

    slot: Slot
    moved: Slot | None = None
    pull: Callable[[Slot | None, Slot | None], None] | None = None
