"""Which row each value is drawn in, and in which order along the row: the first half of Sugiyama's method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

Edge = tuple[str, str]
Item = str | tuple[str, str, int]  # a box, or the place where an edge passes through a row


@dataclass(frozen=True, slots=True)
class Rows:
    """Boxes and passing edges row by row, from left to right; `above` are the neighbours in the row before."""

    rows: tuple[tuple[Item, ...], ...]
    above: Mapping[Item, tuple[Item, ...]]
    below: Mapping[Item, tuple[Item, ...]]

    def path(self, source: str, target: str) -> list[Item]:
        """The places through which an edge passes, its ends included."""
        between = [item for row in self.rows for item in row if isinstance(item, tuple)]
        return [source, *(item for item in between if item[:2] == (source, target)), target]


def arrange(names: Sequence[str], edges: Sequence[Edge], groups: Mapping[str, str]) -> Rows:
    """Rows for a graph without cycles; values of one group stand together, behind the groups they depend on.

    Reference: Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical system structures",
    IEEE Trans. Syst. Man Cybern. 11, 109 (1981)
    """
    rank = _ranks(names, edges, groups)
    rows: list[list[Item]] = [[] for _ in range(max(rank.values(), default=-1) + 1)]
    for name in names:
        rows[rank[name]].append(name)
    above: dict[Item, list[Item]] = {name: [] for name in names}
    below: dict[Item, list[Item]] = {name: [] for name in names}
    for source, target in dict.fromkeys(edges):
        last: Item = source
        for level in range(rank[source] + 1, rank[target] + 1):
            here: Item = target if level == rank[target] else (source, target, level)
            if here not in above:
                above[here], below[here] = [], []
                rows[level].append(here)
            above[here].append(last)
            below[last].append(here)
            last = here
    ordered = _with_few_crossings(rows, above, below)
    return Rows(
        tuple(tuple(row) for row in ordered),
        {item: tuple(found) for item, found in above.items()},
        {item: tuple(found) for item, found in below.items()},
    )


def _ranks(names: Sequence[str], edges: Sequence[Edge], groups: Mapping[str, str]) -> dict[str, int]:
    """As high as inputs allow; within a group as low as its readers allow; groups one below the other."""
    network = nx.DiGraph()
    network.add_nodes_from(names)
    network.add_edges_from(edges)
    quotient = nx.DiGraph()
    quotient.add_edges_from(
        (groups[a], groups[b]) for a, b in edges if a in groups and b in groups and groups[a] != groups[b]
    )
    stacked = nx.is_directed_acyclic_graph(quotient)
    before = {g: nx.ancestors(quotient, g) if stacked and g in quotient else set() for g in groups.values()}
    order = list(nx.topological_sort(network))
    alone: dict[str, set[str]] = {
        group: set() for group in groups.values()
    }  # what a group needs from outside
    for name, group in groups.items():
        alone[group] |= {one for one in nx.ancestors(network, name) if one not in groups}
    rank: dict[str, int] = {}
    for _ in range(2 * len(before) + 2):  # until all groups have moved below those they depend on
        lowest: dict[str, int] = {}
        for name, level in rank.items():
            if name in groups:
                lowest[groups[name]] = max(lowest.get(groups[name], 0), level)
        for name in order:
            found = [rank[source] + 1 for source in network.predecessors(name)]
            if name in groups:
                found += [rank.get(other, 0) + 1 for other in alone[groups[name]]]
                found += [lowest[other] + 1 for other in before[groups[name]] if other in lowest]
            rank[name] = max(found, default=0)
    for name in reversed(order):
        readers = list(network.successors(name))
        together = name in groups and all(groups.get(reader) == groups[name] for reader in readers)
        if readers and together:
            rank[name] = min(rank[reader] for reader in readers) - 1
    return rank


def _with_few_crossings(
    rows: list[list[Item]], above: Mapping[Item, list[Item]], below: Mapping[Item, list[Item]]
) -> list[list[Item]]:
    """Sort every row by the mean place of its neighbours, down and up, and keep the best order met."""
    best, fewest = [list(row) for row in rows], _crossings(rows, above)
    for sweep in range(24):
        down = sweep % 2 == 0
        for level in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            fixed = rows[level - 1] if down else rows[level + 1]
            place = {item: k for k, item in enumerate(fixed)}
            neighbors = above if down else below
            here = {item: k for k, item in enumerate(rows[level])}

            def mean(item: Item, place=place, neighbors=neighbors, here=here) -> float:  # type: ignore[no-untyped-def]
                found = [place[one] for one in neighbors[item] if one in place]
                return sum(found) / len(found) if found else here[item]

            rows[level].sort(key=mean)
        count = _crossings(rows, above)
        if count < fewest:
            best, fewest = [list(row) for row in rows], count
    return best


def _crossings(rows: list[list[Item]], above: Mapping[Item, list[Item]]) -> int:
    """How many pairs of edges between neighbouring rows cross."""
    total = 0
    for upper, lower in pairwise(rows):
        place = {item: k for k, item in enumerate(upper)}
        ends = [place[one] for item in lower for one in sorted(above[item], key=lambda one: place[one])]
        total += sum(a > b for k, a in enumerate(ends) for b in ends[k + 1 :])
    return total
