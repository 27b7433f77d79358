"""Linear maps that follow each other as one: which may be, when it is worth it, and what it gives."""

import pytest
import torch
from equic.runtime.kernels.compiled.folding import Chain
from equic.runtime.kernels.compiled.products import Map
from equic.runtime.kernels.compiled.writer import Writer
from equic.runtime.kernels.gemm import Task

# two components of four channels to six, and of these to three
FIRST = [Task(0, 0, 0, 4, 6, 6, 0.5), Task(4, 6, 0, 4, 6, 6, 0.5)]
SECOND = [Task(0, 0, 0, 6, 3, 3, 2.0), Task(6, 3, 0, 6, 3, 3, 2.0)]


def chain_of(*lists, kinds=1):
    """A chain of such maps, the last one with a matrix for each species; the statements that it wrote."""
    writer = Writer(torch.float64, blocks=True)
    slots = [writer.buffer("node", 16) for _ in range(len(lists) + 1)]
    chain = Chain(writer, slots[0])
    for number, tasks in enumerate(lists):
        last = number == len(lists) - 1
        order = writer.order(kinds) if last and kinds > 1 else None
        matrix = writer.buffer(kinds if order else 1, 100)
        chain.forward(Map(tasks, matrix, order), slots[number], slots[number + 1], last=last)
    return chain, [statement.text for statement in writer.parts[0]]


def dense(tasks, matrix, rows=16):
    """A list of products as one matrix."""
    total = torch.zeros(rows, rows, dtype=torch.float64)
    for t in tasks:
        block = matrix[t.w + torch.arange(t.rows)[:, None] * t.width + torch.arange(t.columns)]
        total[t.x : t.x + t.rows, t.y : t.y + t.columns] += t.scale * block
    return total


def joined(first, second, chain):
    """The matrices' product as C is told to make it."""
    matrix = torch.zeros(100, dtype=torch.float64)
    for a in first:
        for b in second:
            if a.y == b.x:
                (task,) = [one for one in chain.folded.tasks if (one.x, one.y) == (a.x, b.y)]
                left = torch.arange(a.rows)[:, None] * a.width + torch.arange(a.columns) + a.w
                right = torch.arange(b.rows)[:, None] * b.width + torch.arange(b.columns) + b.w
                place = task.w + torch.arange(a.rows)[:, None] * task.width + torch.arange(b.columns)
                matrix[place] = WEIGHTS[0][left] @ WEIGHTS[1][right]
    return matrix


WEIGHTS = torch.randn(2, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_the_folded_products_are_those_of_the_product():
    chain, texts = chain_of(FIRST, SECOND)
    expected = dense(FIRST, WEIGHTS[0]) @ dense(SECOND, WEIGHTS[1])
    found = dense(chain.folded.tasks, joined(FIRST, SECOND, chain))
    assert torch.allclose(found, expected, atol=1e-14)
    # both components share one matrix
    assert {task.w for task in chain.folded.tasks} == {0}
    made = [text.partition(" { ") for text in texts if "fold(" in text or "all(" in text]
    assert [(when, what.partition("(")[0]) for when, _, what in made] == [
        ("if (!CHOICE0)", "all"),
        ("if (!CHOICE0)", "all"),
        ("if (CHOICE0)", "fold"),
        ("if (CHOICE0)", "all"),
    ]


@pytest.mark.parametrize("kinds", [1, 3])
def test_nodes_have_to_outweigh_the_matrices(kinds):
    """4 x 6 x 3 multiplications a species, over 2 x (24 + 18 - 12) that a node is spared, half as much again."""
    chain, _ = chain_of(FIRST, SECOND, kinds=kinds)
    assert chain.w.choices == {"CHOICE0": f"NODES >= {-(-3 * 72 * kinds // (2 * 60))}"}
    assert chain.folded.kinds == kinds


def test_a_narrow_place_is_not_folded():
    """One channel between four and three: what goes through it one by one is less."""
    narrow = [Task(0, 0, 0, 4, 1, 1, 1.0)], [Task(0, 0, 0, 1, 3, 3, 1.0)]
    chain, texts = chain_of(*narrow)
    assert chain.folded is None
    assert chain.w.choices == {"CHOICE0": "0"}
    assert not any("if (CHOICE0) { all" in text for text in texts)


def test_blocks_that_do_not_meet_are_not_folded():
    """The second map reads the last two columns of one block and the first of the next."""
    chain, _ = chain_of(FIRST, [Task(4, 0, 0, 6, 3, 3, 1.0)])
    assert chain.folded is None


def test_the_way_back_goes_by_the_last_gradient():
    chain, _ = chain_of(FIRST, SECOND)
    w, first, last = chain.w, chain.maps[0], chain.maps[1]
    by_y, by_middle, by_x = (w.buffer("node", 16) for _ in range(3))
    start = len(w.parts[0])
    chain.back(last, by_y, by_middle, fresh=True)
    chain.back(first, by_middle, by_x, fresh=True)
    (folded,) = [one for one in w.parts[0][start:] if one.text.startswith("if (CHOICE0) { all")]
    assert {by_y.number, by_x.number} <= folded.here
    assert by_middle.number not in folded.here
