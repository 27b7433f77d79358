"""Statements that may run block by block, and where what they write may lie."""

import pytest
from equic.runtime.kernels.compiled.regions import Region, Statement, regions
from equic.runtime.kernels.compiled.rooms import rooms
from equic.runtime.kernels.compiled.slots import Buffer, Slot, size_of

NODES, EDGES, SYSTEMS, ONES = "node", "edge", "system", 1


def slots_of(*kinds):
    """A buffer of rows of three numbers for each kind."""
    return [Slot(k, "T", Buffer(size_of(kind, 3)), kind, 3) for k, kind in enumerate(kinds)]


def statement(text, over=None, reads=(), sums=()):
    return Statement(text, over, frozenset(reads), frozenset(sums))


def joined(statements, *kinds, known=(), rows=None):
    """The texts, those of a region in a list of their own, behind what goes before it."""
    found = []
    for item in regions(statements, slots_of(*kinds), set(known), rows):
        if isinstance(item, Region):
            found += [one.text for one in item.before]
            found.append([one.text for one in item.body])
        else:
            found.append(item.text)
    return found


def test_statements_of_nodes_are_joined():
    first, second = statement("f(N, p0, p1);"), statement("g(N, p1, p2);")
    assert joined([first, second], NODES, NODES, NODES) == [[first.text, second.text]]


@pytest.mark.parametrize(
    "text", ["f(E, p1, p0);", "f(S, p2, p0);", "f(N, p1, p0);", "f(N, p2, p0);", "f(p0);"]
)
def test_edges_and_systems_are_gone_through_at_once(text):
    parts = [statement("f(N, p0);"), statement(text), statement("f(N, p0);")]
    assert joined(parts, NODES, EDGES, SYSTEMS) == [["f(N, p0);"], text, ["f(N, p0);"]]


@pytest.mark.parametrize("text", ["g(p1);", "g(E, p2);", "g(S, p3);"])
def test_what_needs_nothing_of_a_region_goes_first(text):
    last = "h(N, p0, p1);" if "p1" in text else "h(N, p0);"
    parts = [statement("f(N, p0);"), statement(text), statement(last)]
    assert joined(parts, NODES, ONES, EDGES, SYSTEMS) == [text, ["f(N, p0);", last]]


def test_edges_in_the_order_of_their_targets_have_their_turns_too():
    parts = [statement("f(E, p0, p1);"), statement("g(N, E, p1, p2);", "targets"), statement("h(E, p1);")]
    texts = [one.text for one in parts]
    assert joined(parts, EDGES, EDGES, NODES, ONES, known=[3], rows=3) == [texts]
    # before it is known which these are, and where they lie in another order
    assert joined(parts, EDGES, EDGES, NODES, ONES, rows=3) == [texts[0], [texts[1]], texts[2]]
    assert joined(parts, EDGES, EDGES, NODES) == [texts[0], [texts[1]], texts[2]]


def test_a_statement_overtakes_those_that_wait_for_all_nodes():
    """It needs what the region makes, and the others do not need it."""
    back = statement("back(N, E, p0, p1, p2);", "targets", reads=[0])
    collect = statement("collect(N, p1, p3);", "sources", reads=[1])
    network, end = statement("network(E, p2, p4);"), statement("end(N, p3);")
    kinds = (NODES, EDGES, EDGES, NODES, EDGES, ONES)
    assert joined([back, collect, end, network], *kinds, known=[5], rows=5) == [
        [back.text, network.text],
        [collect.text, end.text],
    ]
    needed = statement("network(E, p2, p1);")  # it changes what is collected
    assert joined([back, collect, needed], *kinds, known=[5], rows=5) == [
        [back.text],
        [collect.text],
        [needed.text],
    ]


def test_wide_rows_of_edges_are_made_where_they_are_read():
    """A network reads 3 numbers an edge of one region and makes 12 for the next."""
    slots = [*slots_of(NODES, EDGES, NODES, ONES), Slot(4, "T", Buffer(size_of(EDGES, 12)), EDGES, 12)]
    lengths, network = statement("lengths(E, p1);"), statement("network(E, p1, p4);", reads=[1])
    first = statement("first(N, E, p1, p0);", "targets", reads=[1])
    second = statement("second(N, E, a0, p4, p2);", "targets", reads=[4])
    found = regions([lengths, network, first, second], slots, {3}, 3)
    assert [[one.text for one in region.body] for region in found] == [
        [lengths.text, first.text],
        [network.text, second.text],
    ]
    assert rooms([*found, frozenset({2})], slots, rows=3).block(slots[4])


def test_what_nodes_add_up_is_not_read_before_all_have():
    total = statement("f(N, p0, p1);", "nodes", sums=[1])
    assert joined([total, total, statement("f(N, p0);")], NODES, SYSTEMS) == [
        [total.text, total.text, "f(N, p0);"]
    ]
    reader = statement("g(N, p1, p0);", "nodes")
    assert joined([total, reader], NODES, SYSTEMS) == [[total.text], [reader.text]]
    assert joined([reader, total], NODES, SYSTEMS) == [[reader.text], [total.text]]
    # a sum that is not told about
    assert joined([statement("f(N, p0, p1);")], NODES, ONES) == ["f(N, p0, p1);"]


def test_what_is_added_up_comes_last():
    """One block after another does it; several threads go through the rest."""
    slots = slots_of(NODES, NODES, SYSTEMS, NODES)
    total = statement("total(N, p0, p2);", "nodes", reads=[0], sums=[2])
    free, reader = statement("f(N, p0, p1);", reads=[0]), statement("g(N, p1, p3);", reads=[1])
    (region,) = regions([free, total, reader], slots, set())
    assert (region.body, region.turns) == ([free, reader, total], 2)
    # what it reads is changed behind it: it stays, and what follows waits with it
    change = statement("h(N, p1, p0);", reads=[1])
    (region,) = regions([free, total, reader, change], slots, set())
    assert (region.body, region.turns) == ([free, total, reader, change], 1)
    # what nodes get from other nodes is left for each edge instead
    to_senders = statement("back(N, p0, a3);", "targets", reads=[0], sums=[3])
    (region,) = regions([to_senders, free], slots, set())
    assert (region.body, region.turns) == ([to_senders, free], 2)


def test_neighbours_are_read_when_all_are_there():
    writer, reader = statement("f(N, p0);"), statement("g(N, E, a0, p1);", "targets", reads=[0])
    assert joined([writer, reader], NODES, NODES) == [[writer.text], [reader.text]]
    same = statement("f(N, p0, p2);", reads=[0])  # it reads what the neighbours read
    assert joined([same, reader], NODES, NODES, NODES) == [[same.text, reader.text]]
    # and nobody writes them while others read
    assert joined([reader, writer], NODES, NODES) == [[reader.text], [writer.text]]
    assert joined([reader, same], NODES, NODES, NODES) == [[reader.text, same.text]]


def test_edges_belong_to_one_of_their_ends_at_a_time():
    to, of = statement("f(N, p0, p1);", "targets"), statement("g(N, p0, p1);", "sources")
    assert joined([to, to], NODES, EDGES) == [[to.text, to.text]]
    assert joined([to, of], NODES, EDGES) == [[to.text], [of.text]]


def test_only_what_one_region_needs_is_as_large_as_a_block():
    kinds = slots_of(*[NODES] * 4, ONES, EDGES, EDGES)
    inner = Region([statement("c(p4);")], [statement("f(N, p0, p1, p4);"), statement("g(N, p1, p2);")], 2)
    later = Region(
        [], [statement("h(N, E, a2, p3, p5);", "targets"), statement("i(N, p3, p6);", "sources")], 2
    )
    found = rooms([statement("e(N, p0);"), inner, later, frozenset({3})], kinds)
    assert [found.block(slot) for slot in kinds] == [False, True, False, False, False, True, False]


def test_rooms_are_shared_by_what_is_not_needed_at_once():
    kinds = slots_of(*[NODES] * 6)
    region = Region([], [statement(f"f(N, p{k}, p{k + 1});") for k in range(3)], 3)
    found = rooms([region, frozenset({0})], kinds)
    # 0 is read outside; 1 and 3 are never there together, 2 is there with both
    assert found.of[1] == found.of[3] != found.of[2]
    assert not found.block(kinds[0])
    apart = rooms([statement("f(N, p0, p1);"), statement("f(N, p1, p2);"), statement("f(N, p2, p3);")], kinds)
    assert [apart.of[k] for k in range(4)] == [apart.of[0], apart.of[1]] * 2
    assert apart.of[0] != apart.of[1]
    # in a region a row is still needed when another block has written what comes later
    whole = rooms([frozenset({0, 2}), region, frozenset({3})], kinds)
    assert len({whole.of[0], whole.of[2], whole.of[3]}) == 3
