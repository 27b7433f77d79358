"""Which points a search measures first: the end points that its evidence is made of, then the default.

One field is varied at a time; the others stand at their default, or in the middle of their range.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .spaces import Space, canonical


@dataclass(frozen=True, slots=True)
class Start:
    """A point to measure first. An `anchored` one is never pruned: the evidence compares with it."""

    values: dict[str, Any]
    anchored: bool


def starting_points(spaces: Sequence[Space], trials: int) -> tuple[Start, ...]:
    """The end points of every dial, every choice once, the defaults, without duplicates.

    First come the fields that set the strictness of a constraint: their anchors or ends, or every mode. They
    are always measured. Then the defaults, where any is given, and the ends and choices of the other fields,
    for as long as half of the trials is left to the sampler.
    """
    base = {space.name: space.middle() for space in spaces}
    dials = [space for space in spaces if space.subject is not None]
    rest = [space for space in spaces if space.subject is None]
    wanted = [Start({**base, space.name: v}, True) for space in dials for v in _ends(space)]
    if any(space.default is not None and space.contains(space.default) for space in spaces):
        wanted.append(Start(base, False))
    extra = [Start({**base, space.name: v}, False) for space in rest for v in _ends(space)]

    starts: dict[str, Start] = {}
    for start in wanted:
        starts.setdefault(canonical(start.values), start)
    for start in extra:
        if len(starts) < trials // 2:
            starts.setdefault(canonical(start.values), start)
    return tuple(starts.values())


def encode(spaces: Sequence[Space], values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The stored parameters of a point, and the values among them that no stored parameter can hold.

    An anchor outside of its range is stored as the nearest value inside it (which is what the sampler learns
    from) and kept beside it as it is (which is what the objective gets).
    """
    params = {space.name: space.to_param(values[space.name]) for space in spaces}
    pinned = {space.name: values[space.name] for space in spaces if not space.contains(values[space.name])}
    return params, pinned


def decode(spaces: Sequence[Space], params: dict[str, Any], pinned: dict[str, Any]) -> dict[str, Any]:
    """The point that stored parameters stand for; a field that was never drawn is left out."""
    values = {space.name: space.from_param(params[space.name]) for space in spaces if space.name in params}
    return {**values, **pinned}


def _ends(space: Space) -> list[Any]:
    if space.kind == "choice":
        return list(space.choices)
    if space.kind == "int" and space.subject is None:
        return []  # a size: its upper end costs most and shows nothing
    return [float(end) for end in (*space.anchors, *space.bounds)]
