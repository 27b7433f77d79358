"""Pictures of graphs: every op once, no box over another, edges that pass beside boxes."""

import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise

import pytest
from equic.compiler.language.presets import preset_names
from equic.compiler.picture import render_svg
from equic.compiler.picture.layers import arrange

from ..small_specs import compiled, preset_text

SVG = "{http://www.w3.org/2000/svg}"
PATH = re.compile(r"(-?[\d.]+),(-?[\d.]+)")


def drawn(name, optimised):
    done = compiled(preset_text(name))
    graph = done.optimised if optimised else done.graph
    return graph, ElementTree.fromstring(render_svg(graph, done.context.scope, "a <title> & more"))


def rectangles(root):
    """Name of the op: left, top, right, bottom of its box."""
    found = {}
    for group in root.iter(f"{SVG}g"):
        name = group.find(f"{SVG}title").text.split(": ")[0]
        box = group.find(f"{SVG}rect")
        x, y, width, height = (float(box.get(key)) for key in ("x", "y", "width", "height"))
        assert name not in found
        found[name] = (x, y, x + width, y + height)
    return found


@pytest.mark.parametrize("optimised", [False, True], ids=["plain", "optimised"])
@pytest.mark.parametrize("name", preset_names())
def test_every_op_has_a_box_of_its_own(name, optimised):
    graph, root = drawn(name, optimised)
    boxes = rectangles(root)
    labels = {"species"} & {node.name for node in graph}
    assert boxes.keys() | labels == {node.name for node in graph}
    width, height = float(root.get("width")), float(root.get("height"))
    for left, top, right, bottom in boxes.values():
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    for (_, a), (_, b) in combinations(boxes.items(), 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@pytest.mark.parametrize("name", preset_names())
def test_edges_run_down_and_pass_beside_boxes(name):
    graph, root = drawn(name, False)
    boxes = rectangles(root)
    reads = {(s, n.name) for n in graph for _, s in n.op.inputs() if s in boxes}
    paths = [p.get("d") for p in root.iter(f"{SVG}path") if p.get("fill") == "none"]
    assert len(paths) == len(reads)
    for path in paths:
        points = [(float(x), float(y)) for x, y in PATH.findall(path)]
        ends = [points[0], *points[3::3]]
        assert all(a[1] <= b[1] for a, b in pairwise(ends))
        for x, y in ends[1:-1]:
            assert not any(l < x < r and t < y < b for l, t, r, b in boxes.values())


def test_rows_follow_the_edges_and_groups_stand_apart():
    edges = [
        ("a", "1.x"),
        ("1.x", "1.y"),
        ("1.y", "1.z"),
        ("1.y", "2.x"),
        ("a", "2.y"),
        ("2.x", "2.y"),
        ("2.y", "2.z"),
    ]
    names = ["a", "1.x", "1.y", "1.z", "2.x", "2.y", "2.z"]
    groups = {name: name[0] for name in names if "." in name}
    rows = arrange(names, edges, groups)
    level = {item: k for k, row in enumerate(rows.rows) for item in row}
    assert all(level[a] < level[b] for a, b in edges)
    assert max(level[n] for n in names if n[0] == "1") < min(level[n] for n in names if n[0] == "2")
    assert len(rows.path("a", "2.y")) == level["2.y"] - level["a"] + 1


def test_crossings_are_removed_where_they_can_be():
    edges = [("a", "y"), ("b", "x"), ("x", "p"), ("y", "q")]
    rows = arrange(["a", "b", "x", "y", "p", "q"], edges, {}).rows
    order = [list(row) for row in rows]
    assert order in ([["a", "b"], ["y", "x"], ["q", "p"]], [["b", "a"], ["x", "y"], ["p", "q"]])
