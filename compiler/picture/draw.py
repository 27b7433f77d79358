"""The typed graph as SVG: boxes by family of op, types on them, bands for layers, a legend."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from html import escape

from ..ir.graph import Graph, Node
from ..ir.ops import Input
from ..ir.ops.base import Scope
from ..ir.types import Categories, Type, Verdict
from ..symmetry.irreps import Irreps
from .layers import Item, Rows, arrange
from .places import place
from .style import FAMILIES, FONT, INK, LINE, MUTED, PAPER, VERDICTS, family

LINE_HEIGHT, ROW_GAP, COLUMN_GAP, PADDING, MARGIN = 15.0, 34.0, 26.0, 10.0, 28.0
BOX_HEIGHT = 3 * LINE_HEIGHT + 2 * PADDING - 4
LONGEST = 34  # characters of a line in a box
CHARACTER = 7.1  # of the widest of the usual fonts


@dataclass(frozen=True, slots=True)
class _Box:
    """What stands in a box: its name, what it is, the type of its value; its size; labels that it reads."""

    title: str
    kind: str
    type: str
    chips: tuple[str, ...]
    width: float


def render_svg(graph: Graph, scope: Scope, title: str) -> str:
    """A self-contained SVG of a typed graph, readable at some tens of ops.

    Labels such as species, which many ops read, are marked on their readers instead of drawn as edges.
    """
    labels = {node.name for node in graph if isinstance(node.op, Input) and _is_label(node.type)}
    nodes = [node for node in graph if node.name not in labels]
    groups = _groups(nodes)
    boxes = {node.name: _box(node, graph, scope, labels, groups) for node in nodes}
    edges = [(source, node.name) for node in nodes for _, source in node.op.inputs() if source not in labels]
    rows = arrange([node.name for node in nodes], edges, groups)
    x = place(rows, lambda item: boxes[item].width if isinstance(item, str) else 12.0, COLUMN_GAP)
    left = min(x[item] - (boxes[item].width / 2 if isinstance(item, str) else 6) for item in x)
    right = max(x[item] + (boxes[item].width / 2 if isinstance(item, str) else 6) for item in x)
    width = max(right - left + 2 * MARGIN + 40, 620.0)
    legend, head = _head(title, len(graph.nodes), nodes, width)
    y = _heights(rows, groups, head)
    shift = (width - (right - left)) / 2 - left
    x = {item: value + shift for item, value in x.items()}
    height = max(y.values()) + BOX_HEIGHT + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}" font-size="11.5" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
        *legend,
        *_bands(groups, boxes, x, y),
        *_edges(edges, rows, boxes, x, y),
    ]
    targets = set(graph.outputs.values())
    for node in nodes:
        parts += _drawn(node, boxes[node.name], x[node.name], y[node.name], node.name in targets)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _is_label(type_: Type | None) -> bool:
    return type_ is not None and isinstance(type_.rep, Categories)


def _groups(nodes: list[Node]) -> dict[str, str]:
    """The first part of dotted names, where three or more share it."""
    first = {node.name: node.name.split(".")[0] for node in nodes if "." in node.name}
    sizes = Counter(first.values())
    return {name: group for name, group in first.items() if sizes[group] >= 3}


def _box(node: Node, graph: Graph, scope: Scope, labels: set[str], groups: dict[str, str]) -> _Box:
    assert node.type is not None
    title = node.name.removeprefix(f"{groups[node.name]}.") if node.name in groups else node.name
    inputs = [graph.type(name) for _, name in node.op.inputs()]
    count = node.op.parameters(inputs, node.type, scope)
    kind = node.op.kind + (f"  ·  {count:,} weights" if count else "")  # type: ignore[attr-defined]
    rep = node.type.rep.short if isinstance(node.type.rep, Irreps) else str(node.type.rep)
    unit = "" if str(node.type.unit) == "1" else f" [{node.type.unit}]"
    shown = f"{node.type.index}: {rep}{unit}"
    shown = shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
    chips = tuple(dict.fromkeys(name for _, name in node.op.inputs() if name in labels))
    if node.name in graph.outputs.values():
        chips = (*chips, "target")
    first = len(title) * 1.08 * CHARACTER + sum(len(chip) * 6.0 + 16 for chip in chips)
    widest = max(first, len(kind) * CHARACTER, len(shown) * CHARACTER + 12)
    return _Box(title, kind, shown, chips, max(widest + 2 * PADDING, 112.0))


def _heights(rows: Rows, groups: dict[str, str], start: float) -> dict[Item, float]:
    """The top of every item; rows where a band begins or ends stand further apart."""
    y: dict[Item, float] = {}
    at, inside = start, None
    for row in rows.rows:
        here = {groups[item] for item in row if isinstance(item, str) and item in groups}
        if inside is not None and here != inside:
            at += 24
        inside = here
        y.update(dict.fromkeys(row, at))
        at += BOX_HEIGHT + ROW_GAP
    return y


def _head(title: str, ops: int, nodes: list[Node], width: float) -> tuple[list[str], float]:
    """Title and legend, and where the graph begins."""
    parts = [
        f'<text x="{MARGIN}" y="36" font-size="17" font-weight="600" fill="{INK}">{escape(title)}</text>',
        f'<text x="{width - MARGIN}" y="36" text-anchor="end" fill="{MUTED}">{ops} ops</text>',
    ]
    used = {family(node.op.kind) for node in nodes}  # type: ignore[attr-defined]
    keys = [(name, *colors) for name, colors in FAMILIES.items() if name in used]
    verdicts = {_verdict(node) for node in nodes}
    keys += [(str(one), color, color) for one, color in VERDICTS.items() if one in verdicts]
    x, y = MARGIN, 56.0
    for name, fill, edge in keys:
        wide = 18 + len(name) * CHARACTER + 14
        if x + wide > width - MARGIN:
            x, y = MARGIN, y + 20
        round_ = 6 if fill == edge else 3
        parts.append(
            f'<rect x="{x:.1f}" y="{y - 10:.1f}" width="12" height="12" rx="{round_}" fill="{fill}" stroke="{edge}"/>'
        )
        parts.append(f'<text x="{x + 18:.1f}" y="{y:.1f}" fill="{MUTED}">{name}</text>')
        x += wide
    return parts, y + 40


def _bands(
    groups: dict[str, str], boxes: dict[str, _Box], x: dict[Item, float], y: dict[Item, float]
) -> list[str]:
    """A shade behind the boxes of each group, with its name."""
    parts = []
    for group in dict.fromkeys(groups.values()):
        names = [name for name, one in groups.items() if one == group]
        left = min(x[name] - boxes[name].width / 2 for name in names) - 16
        right = max(x[name] + boxes[name].width / 2 for name in names) + 16
        top = min(y[name] for name in names) - 22
        bottom = max(y[name] + BOX_HEIGHT for name in names) + 12
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" rx="12" '
            f'fill="#f1f3f7" stroke="#e2e6ed"/>'
        )
        parts.append(
            f'<text x="{left + 12:.1f}" y="{top + 15:.1f}" font-weight="600" fill="{MUTED}">{escape(group)}</text>'
        )
    return parts


def _edges(
    edges: list[tuple[str, str]],
    rows: Rows,
    boxes: dict[str, _Box],
    x: dict[Item, float],
    y: dict[Item, float],
) -> list[str]:
    """Curves from the bottom of a box to the top of another, side by side where several arrive."""
    parts = []
    arriving: dict[str, list[str]] = {}
    for source, target in dict.fromkeys(edges):
        arriving.setdefault(target, []).append(source)
    for target, sources in arriving.items():
        paths = {source: rows.path(source, target) for source in sources}
        sources.sort(key=lambda source: x[paths[source][-2]])
        step = min(22.0, (boxes[target].width - 24) / max(len(sources) - 1, 1))
        for k, source in enumerate(sources):
            end = x[target] + (k - (len(sources) - 1) / 2) * step
            points = [(x[source], y[source] + BOX_HEIGHT)]
            for item in paths[source][1:-1]:  # straight past the boxes of the row
                points += [(x[item], y[item]), (x[item], y[item] + BOX_HEIGHT)]
            points.append((end, y[target] - 5))
            parts.append(f'<path d="{_curve(points)}" fill="none" stroke="{LINE}" stroke-width="1.3"/>')
            tip = f"M{end:.1f},{y[target]:.1f} l-3.5,-6.5 h7 z"
            parts.append(f'<path d="{tip}" fill="{LINE}"/>')
    return parts


def _curve(points: list[tuple[float, float]]) -> str:
    """Vertical at every point."""
    (x0, y0), *rest = points
    text = f"M{x0:.1f},{y0:.1f}"
    for x1, y1 in rest:
        middle = (y0 + y1) / 2
        text += f" C{x0:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}"
        x0, y0 = x1, y1
    return text


def _drawn(node: Node, box: _Box, x: float, y: float, is_target: bool) -> list[str]:
    fill, edge = FAMILIES[family(node.op.kind)]  # type: ignore[attr-defined]
    left, verdict = x - box.width / 2, _verdict(node)
    thick = "2.2" if is_target else "1.1"
    parts = [
        f"<g><title>{escape(node.name)}: {escape(str(node.type))}\n{escape(node.op.text())}</title>",
        f'<rect x="{left:.1f}" y="{y:.1f}" width="{box.width:.1f}" height="{BOX_HEIGHT:.1f}" rx="7" '
        f'fill="{fill}" stroke="{edge}" stroke-width="{thick}"/>',
        f'<circle cx="{left + PADDING + 4:.1f}" cy="{y + PADDING + 3 * LINE_HEIGHT - 9:.1f}" r="3.5" '
        f'fill="{VERDICTS[verdict]}"/>',
    ]
    lines = (
        (box.title, f'font-weight="600" fill="{INK}"'),
        (box.kind, f'fill="{MUTED}"'),
        (box.type, f'fill="{INK}"'),
    )
    for k, (text, style) in enumerate(lines):
        at = y + PADDING + LINE_HEIGHT * (k + 1) - 5
        start = left + PADDING + (12 if k == 2 else 0)
        parts.append(f'<text x="{start:.1f}" y="{at:.1f}" {style}>{escape(text)}</text>')
    at = left + box.width - 6
    for chip in reversed(box.chips):
        wide = len(chip) * 6.0 + 10
        at -= wide
        parts.append(
            f'<rect x="{at:.1f}" y="{y + 6:.1f}" width="{wide:.1f}" height="15" rx="7.5" fill="#fff" stroke="{edge}"/>'
        )
        parts.append(
            f'<text x="{at + wide / 2:.1f}" y="{y + 17:.1f}" text-anchor="middle" font-size="10" '
            f'fill="{MUTED}">{escape(chip)}</text>'
        )
        at -= 4
    return [*parts, "</g>"]


def _verdict(node: Node) -> Verdict:
    """The worst over the factors."""
    assert node.type is not None
    return max((hold.verdict for hold in node.type.holds.values()), default=Verdict.EXACT)
