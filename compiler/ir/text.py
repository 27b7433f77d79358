"""The text forms of a graph, one op a line, its type as a comment: level 3 of the spec language, and a bare one."""

from __future__ import annotations

import json

from pydantic import TypeAdapter

from ..language.spans import Position, Span
from .graph import Graph, Node
from .ops import AnyOp, Grad, Input, Op


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


def parse_graph(text: str) -> Graph:
    """The graph that `str(graph)` printed, without its types.

    Raises:
        ValueError: a line is neither `name = {op}` nor `target <- name`, or an op has wrong fields.

    Example:
        >>> text = 'x = {"kind": "input", "field": "positions"}\\nv = {"kind": "relative", "of": "x"}\\nv <- v\\n'
        >>> str(parse_graph(text)) == text
        True
    """
    adapter: TypeAdapter[Op] = TypeAdapter(AnyOp)
    nodes, outputs = [], {}
    for number, line in enumerate(text.splitlines(), start=1):
        name, equals, rest = line.partition(" = ")
        if equals and rest.startswith("{"):
            data, _ = json.JSONDecoder().raw_decode(rest)
            span = Span("graph", Position(number, 1), Position(number, len(line) + 1))
            nodes.append(Node(name, adapter.validate_python(data), span))
            continue
        target, arrow, name = line.partition(" <- ")
        if not arrow:
            raise ValueError(f"line {number} is no op and no output: {line}")
        outputs[target] = name
    return Graph(tuple(nodes), outputs)
