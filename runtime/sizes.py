"""How many numbers the steps of a plan make on edges, on pairs of them, and on edges and atoms together."""

from __future__ import annotations

from collections.abc import Mapping

from .plan import Plan, Step


def pair_numbers(plan: Plan, edges: float, atoms: float) -> list[float]:
    """For every step whose values belong to pairs of atoms (or to more of them), about how many numbers it makes.

        edges E;  pairs of edges that lead to one atom E (E/N - 1);  tokens E + N

    Attention over tokens also reads values and logits for every pair of edges.
    """
    pairs = edges * max(edges / max(atoms, 1.0) - 1.0, 0.0)
    rows = {"edge": edges, "angle": pairs, "token": edges + atoms}
    return [numbers_of(step, rows) for step in plan.steps if step.index in rows or _over_tokens(step)]


def numbers_of(step: Step, rows: Mapping[str, float], otherwise: float = 0.0) -> float:
    """How many numbers a step makes, from how many rows each set has; `otherwise` of the other sets."""
    inner = 2.0 * step.dim * rows["angle"] if _over_tokens(step) else 0.0
    return step.dim * rows.get(step.index, otherwise) + inner


def _over_tokens(step: Step) -> bool:
    return step.layer == "attend" and step.params["scope"] == "tokens"
