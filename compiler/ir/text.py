"""The text form of a graph: level 3 of the spec language, one op a line, its type as a comment."""

from __future__ import annotations

import json

from .graph import Graph
from .ops import Grad, Input


def render_graph(graph: Graph, *, types: bool = True) -> str:
    """A `model:` section that compiles to the same graph (same hash).

    Inputs and gradients are left out: the system and the targets bring them.
    """
    lines = ["model:", "  graph:"]
    for node in graph.nodes:
        if isinstance(node.op, (Input, Grad)):
            continue
        comment = f"  # {node.type}" if types and node.type is not None else ""
        lines.append(f"    {json.dumps(node.name, ensure_ascii=False)}: {node.op.text()}{comment}")
    return "\n".join(lines) + "\n"
