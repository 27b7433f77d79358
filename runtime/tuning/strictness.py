"""How strict a value of a constraint is: 0 is hard, 1 is free, a strength lies between."""

from collections.abc import Mapping
from typing import Any

from .spaces import show

HARD, FREE = 0.0, 1.0


def strictness(value: Any) -> float | None:
    """The place of a mode on the ladder: the s of `W = [P + s(I − P)] V`; None where it has none.

    Example:
        >>> [strictness(v) for v in ("hard", {"relaxed": 0.1}, 0.3, "free", "augmented")]
        [0.0, 0.1, 0.3, 1.0, None]
    """
    if isinstance(value, str):
        return {"hard": HARD, "free": FREE}.get(value)
    if isinstance(value, Mapping):
        if "hard" in value:
            return HARD
        inner = value.get("relaxed")
        return strictness(inner.get("strength") if isinstance(inner, Mapping) else inner)
    if isinstance(value, int | float) and not isinstance(value, bool) and HARD <= value <= FREE:
        return float(value)
    return None


def with_strictness(value: Any, choices: tuple[Any, ...], wanted: float) -> Any:
    """The value of the same space that has this strictness: a choice, or without choices the number.

    None where no choice has it.
    """
    if not choices:
        return wanted
    return next((choice for choice in choices if strictness(choice) == wanted), None)


def place(value: Any) -> str:
    """A mode in words.

    Example:
        >>> [place(v) for v in ("hard", 0.0, {"relaxed": 0.1}, 1, "augmented")]
        ['hard (s = 0)', 'hard (s = 0)', 's = 0.1', 'free (s = 1)', 'augmented']
    """
    s = strictness(value)
    if s is None:
        return show(value)
    if s == HARD:
        return "hard (s = 0)"
    return "free (s = 1)" if s == FREE else f"s = {s:.3g}"
