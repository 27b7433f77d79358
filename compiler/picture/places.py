"""Where in its row each box stands: near the middle of its neighbours, none over another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from .layers import Item, Rows


def place(rows: Rows, width: Callable[[Item], float], gap: float) -> dict[Item, float]:
    """The x of every centre. Rows are solved one after the other, down and up, until they agree.

    A long edge pulls the places it passes through into one line.
    """
    x: dict[Item, float] = {}
    for row in rows.rows:
        at = 0.0
        for item in row:
            x[item] = at + width(item) / 2
            at += width(item) + gap
        for item in row:
            x[item] -= (at - gap) / 2
    for sweep in range(40):
        order = rows.rows if sweep % 2 == 0 else rows.rows[::-1]
        for row in order:
            wanted = [_middle(item, x, rows.above, rows.below) for item in row]
            weights = [8.0 if isinstance(item, tuple) else 1.0 for item in row]
            apart = [(width(a) + width(b)) / 2 + gap for a, b in pairwise(row)]
            x.update(zip(row, _spread(wanted, weights, apart), strict=True))
    _straighten(rows, x, width, gap)
    return x


def _straighten(rows: Rows, x: dict[Item, float], width: Callable[[Item], float], gap: float) -> None:
    """Put each chain (a long edge, or boxes that read one another alone) on one line, where there is room."""
    beside: dict[Item, tuple[Item | None, Item | None]] = {}
    for row in rows.rows:
        for k, item in enumerate(row):
            beside[item] = (row[k - 1] if k else None, row[k + 1] if k + 1 < len(row) else None)

    def room(item: Item) -> tuple[float, float]:
        left, right = beside[item]
        lowest = -1e9 if left is None else x[left] + (width(left) + width(item)) / 2 + gap
        highest = 1e9 if right is None else x[right] - (width(right) + width(item)) / 2 - gap
        return lowest, highest

    for _ in range(4):
        for chain in _chains(rows):
            run: list[Item] = []
            lowest, highest = -1e9, 1e9
            for item in chain:
                low, high = room(item)
                if max(lowest, low) > min(highest, high):  # the line goes no further
                    x.update(_lined_up(run, x, lowest, highest))
                    run, lowest, highest = [], -1e9, 1e9
                run.append(item)
                lowest, highest = max(lowest, low), min(highest, high)
            x.update(_lined_up(run, x, lowest, highest))


def _lined_up(run: list[Item], x: Mapping[Item, float], lowest: float, highest: float) -> dict[Item, float]:
    """One x for all, the median as far as there is room."""
    if not run:
        return {}
    middle = sorted(x[one] for one in run)[len(run) // 2]
    return dict.fromkeys(run, min(max(middle, lowest), highest))


def _chains(rows: Rows) -> list[list[Item]]:
    """Items that follow one another with no other neighbours between; inner parts of long edges by themselves."""
    chains: list[list[Item]] = []
    seen: set[Item] = set()
    for row in rows.rows:
        for item in row:
            if item in seen:
                continue
            chain = [item]
            while len(rows.below[chain[-1]]) == 1:
                following = rows.below[chain[-1]][0]
                if len(rows.above[following]) != 1 or isinstance(following, tuple) != isinstance(item, tuple):
                    break
                chain.append(following)
            seen.update(chain)
            if len(chain) > 1:
                chains.append(chain)
    return sorted(chains, key=len, reverse=True)


def _middle(
    item: Item,
    x: Mapping[Item, float],
    above: Mapping[Item, Sequence[Item]],
    below: Mapping[Item, Sequence[Item]],
) -> float:
    """The mean of the neighbours; straight long edges and single partners count more."""
    total = mass = 0.0
    for found, other in ((above[item], below), (below[item], above)):
        for one in found:
            straight = isinstance(item, tuple) and isinstance(one, tuple)
            weight = 8.0 if straight else 2.0 / (len(found) + len(other[one]))
            total, mass = total + weight * x[one], mass + weight
    return total / mass if mass else x[item]


def _spread(wanted: Sequence[float], weights: Sequence[float], apart: Sequence[float]) -> list[float]:
    """The x nearest to what is wanted (weighted squares) with x[k + 1] - x[k] >= apart[k]: pool violators."""
    shift = [0.0]
    for step in apart:
        shift.append(shift[-1] + step)
    blocks: list[list[float]] = []  # mean, weight, count
    for k, (value, weight) in enumerate(zip(wanted, weights, strict=True)):
        blocks.append([value - shift[k], weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            mean, mass, count = blocks.pop()
            blocks[-1][0] = (blocks[-1][0] * blocks[-1][1] + mean * mass) / (blocks[-1][1] + mass)
            blocks[-1][1] += mass
            blocks[-1][2] += count
    flat = [mean for mean, _, count in blocks for _ in range(int(count))]
    return [mean + offset for mean, offset in zip(flat, shift, strict=True)]
