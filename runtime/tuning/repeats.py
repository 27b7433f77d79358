"""Which points are measured again, with other seeds, when the search is over.

The best of many single runs is partly luck, and one run at an end point says nothing about its spread. So the
best point is repeated, and so is the same point with one constraint at a time made hard, and made free: what
these differ in is the constraint alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .result import TrialRow, best_point, points
from .spaces import Space, canonical
from .strictness import FREE, HARD, with_strictness


@dataclass(frozen=True, slots=True)
class Repeat:
    """One more run at a point: the `seed`-th after the search's own."""

    values: dict[str, Any]
    seed: int

    @property
    def key(self) -> tuple[str, int]:
        """What tells two of them apart."""
        return canonical(self.values), self.seed


def repeats_of(
    rows: Sequence[TrialRow], spaces: Sequence[Space], count: int, direction: str
) -> tuple[Repeat, ...]:
    """The runs that are still to be made so that each compared point has `count` repetitions.

    A function of the finished search alone: every worker, and every later call, comes to the same list.
    """
    if count == 0:
        return ()
    best = best_point(points(row for row in rows if not row.is_repeat), direction)
    if best is None:
        return ()
    compared = [best.values]
    for space in spaces:
        if space.subject is None:
            continue
        for end in (HARD, FREE):
            value = with_strictness(best.values[space.name], space.choices, end)
            if value is not None and (
                space.kind == "choice" or value in space.anchors or space.contains(value)
            ):
                compared.append({**best.values, space.name: value})
    done = {(canonical(row.values), row.repeat) for row in rows if row.settled}
    wanted = {
        repeat.key: repeat
        for values in compared
        for repeat in (Repeat(values, seed) for seed in range(1, count + 1))
    }
    return tuple(repeat for key, repeat in wanted.items() if key not in done)
