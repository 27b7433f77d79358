"""Weight neighbours after summing them, where their features depend on the species alone.

Before:  %4 = lookup(%3, species)
         %5 = gather(%4)                                        : edge: 64x0e
         %6 = mlp(%radial) {widths: [64, 64], out: 256}         : edge: 256x0e
         %7 = product(%5, %Y, %6)                               : edge: 64x0e+64x1o+64x2e+64x3o
         %8 = reduce(%7) {to: node}                             : node: 64x0e+64x1o+64x2e+64x3o
After:   %6 = mlp(%radial) {widths: [64, 64], out: 256, last: false}   : edge: 64x0e
         %8 = density(%3, %Y, %6, species)                      : node: 64x0e+64x1o+64x2e+64x3o

The last matrix of the radial network, the largest product of a first layer, meets every node and species instead
of every edge. It stays a weight of the network, under its name. Done where the estimate says that it costs less than
half: with few species and many neighbours.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..cost import default_sizes, estimate
from ..ir.graph import Graph, Node
from ..ir.ops import Density, Gather, Lookup, Mlp, Product, Reduce
from .context import Context
from .infer_types import infer_missing

# Sums of outer products take longer per operation than matrix products: at 0.64 times the operations both forms
# took equally long, at 0.35 a model was a tenth faster (MACE, 128 channels, generated C, one thread).
_WORTH = 0.5


def reassociate_first_layer(graph: Graph, ctx: Context) -> Graph:
    """Rewrite every message whose features are looked up by species, and drop what nobody reads then."""
    for node in graph.nodes:
        rewritten = _rewritten(graph, node, ctx)
        if rewritten is not None and _costs_less(rewritten, graph, ctx):
            graph = rewritten
    return graph


def _rewritten(graph: Graph, reduce: Node, ctx: Context) -> Graph | None:
    if (
        not isinstance(reduce.op, Reduce)
        or reduce.op.to != "node"
        or reduce.op.norm not in ("sum", "average")
    ):
        return None
    product = graph[reduce.op.of].op
    if not isinstance(product, Product) or product.mode != "uvu" or product.weights is None:
        return None
    gather, network = graph[product.of[0]].op, graph[product.weights]
    if not isinstance(gather, Gather) or gather.role != "source" or not isinstance(network.op, Mlp):
        return None
    lookup = graph[gather.of].op
    if not isinstance(lookup, Lookup) or not graph.type(lookup.of).irreps.all_scalar:
        return None
    readers = Counter(name for node in graph.nodes for _, name in node.op.inputs())
    alone = readers[reduce.op.of] == readers[product.weights] == 1
    if not alone or {reduce.op.of, product.weights} & set(graph.outputs.values()):
        return None
    if network.op.bias or not network.op.last or graph.type(product.of[1]).irreps.channels != 1:
        return None
    density = Density(
        of=(lookup.of, product.of[1]),
        weights=product.weights,
        species=lookup.species,
        irreps=product.irreps,
        norm=reduce.op.norm,
        relax=product.relax,
    )
    changed = {
        network.name: replace(network, op=network.op.model_copy(update={"last": False}), type=None),
        reduce.name: replace(reduce, op=density, type=None),
    }
    after = replace(graph, nodes=tuple(changed.get(node.name, node) for node in graph.nodes))
    live = after.reachable()
    return infer_missing(replace(after, nodes=tuple(node for node in after if node.name in live)), ctx)


def _costs_less(after: Graph, before: Graph, ctx: Context) -> bool:
    """Compare what differs, forward and backward, at the estimated number of neighbours."""
    sizes = default_sizes(ctx.scope)
    shared = {node.name for node in after if node.name in before and before[node.name].op == node.op}
    old, new = (
        sum(cost.total for cost in estimate(graph, ctx.scope, sizes, without=shared))
        for graph in (before, after)
    )
    return new < _WORTH * old
