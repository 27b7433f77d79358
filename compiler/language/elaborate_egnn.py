"""Layers of EGNN and of its extension to higher degrees as ops."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.ops import Act, Add, Concat, Difference, Gather, Inner, Mlp, Reduce, Scale, Weigh
from ..ir.ops.base import Op
from .blocks import EgnnBlock
from .elaborate_mp import Layers


def egnn(layers: Layers, block: EgnnBlock, k: int, prefix: str) -> None:
    """One layer of Satorras et al. 2021, equations 3 to 6, or of Cen et al. 2024 where `steerable`.

        m_ij = f(h_i, h_j, |x_ij|^2 / rc^2, a_ij, <v_i, v_j>_l)
        x_i += step sum_j g(m_ij) x_ij          h_i = [h_i +] n(h_i, sum_j m_ij)
        v_i += sum_j c_l(m_ij) (v_i - v_j)      at first v_i = sum_j d_l(h_i, h_j, |x_ij|) Y_l

    x_ij = x_i - x_j; a_ij, the attributes of an edge, are the radial functions. f and d end in an activation.
    All messages are multiplied by the envelope, so that they end smoothly at the cutoff, and summed as `reduce`
    says.
    """
    graph, span, width = layers.graph, layers.where.span(k), layers.irreps.dim
    old, act = layers.carried, block.activation
    envelope, degrees = layers.envelope(), layers.model.features.harmonics + 1

    def add(name: str, op: Op) -> str:
        return graph.add(f"{prefix}.{name}", op, span)

    def dense(name: str, of: str, out: int) -> str:
        return add(name, Mlp(of=of, widths=(width,), out=out, activation=act, bias=True))

    def ended(name: str, of: str) -> str:
        return of if envelope is None else add(f"{name}.ended", Weigh(of=of, by=envelope))

    def summed(name: str, of: str) -> str:
        return add(f"{name}.pooled", Reduce(of=of, to="node", norm=block.reduce))

    def ends(name: str, of: str) -> tuple[str, str]:
        target = add(f"{name}.targets", Gather(of=of, role="target"))
        return target, add(f"{name}.sources", Gather(of=of))

    vectors = _vectors(layers, add)
    square = add("square", Inner(of=(vectors, vectors)))
    distance = add("distance", Scale(of=square, by=layers.cutoff**-2))
    here, there = ends("h", old)
    inputs = [here, there, distance, "radial"]
    steerable = layers.tracks.get("steerable")
    if block.steerable:
        if steerable is None:
            seen = add("start.input", Concat(of=(here, there, "lengths")))
            weights = add("start.act", Act(of=dense("start", seen, degrees), f=act))
            spheres = add("start.harmonics", Weigh(of="harmonics", by=weights))
            steerable = summed("start", ended("start", spheres))
        ours, theirs = ends("v", steerable)
        inputs.append(add("inner", Inner(of=(ours, theirs))))
    message = add(
        "message", Act(of=dense("message.bare", add("input", Concat(of=tuple(inputs))), width), f=act)
    )
    if block.attention:
        weight = add("attention.act", Act(of=dense("attention", message, 1), f="sigmoid"))
        message = add("attended", Weigh(of=message, by=weight))
    if block.move:
        length = add("move.step", Scale(of=dense("move", message, 1), by=block.step))
        move = ended("move", add("move.along", Weigh(of=vectors, by=length)))
        moved, before = summed("move", move), layers.tracks.get("moved")
        layers.tracks["moved"] = moved if before is None else add("moved", Add(of=(before, moved)))
    if block.steerable:
        assert steerable is not None
        change = add("v.difference", Difference(of=(ours, theirs)))
        turned = add("v.weighted", Weigh(of=change, by=dense("v.weights", message, degrees)))
        new = summed("v", ended("v", turned))
        layers.tracks["steerable"] = add("steerable", Add(of=(steerable, new)))
    pooled = summed("message", ended("message", message))
    update = dense("update", add("update.input", Concat(of=(old, pooled))), width)
    layers.carried = add("sum", Add(of=(old, update))) if block.residual else update


def _vectors(layers: Layers, add: Callable[[str, Op], str]) -> str:
    """The edges between the positions as they are now."""
    moved = layers.tracks.get("moved")
    if moved is None:
        return "vectors"
    ends = add("moved.targets", Gather(of=moved, role="target")), add("moved.sources", Gather(of=moved))
    return add("vectors", Add(of=("vectors", add("moved.difference", Difference(of=ends)))))
