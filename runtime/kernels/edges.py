"""The edges by receiver and by sender, so that each sum has one owner."""

from __future__ import annotations

import ctypes
from typing import ClassVar

import torch
from equic.runtime.errors import DataError
from equic.runtime.layers.base import Layer
from torch import Tensor

from .ops import LIBRARY, pointer, toolchain

SORT_SOURCE = """
#include <stdint.h>
#include <string.h>
// A stable counting sort: row[n + 1] first holds how many edges n has, then where they end.
int64_t sort_edges(int64_t edges, int64_t nodes, const int64_t *index, int64_t *row, int64_t *order) {
  memset(row, 0, (nodes + 1) * sizeof(int64_t));
  for (int64_t e = 0; e < edges; e++) {
    if (index[e] < 0 || index[e] >= nodes) return e + 1;
    row[index[e] + 1]++;
  }
  for (int64_t n = 0; n < nodes; n++) row[n + 1] += row[n];
  for (int64_t e = 0; e < edges; e++) order[row[index[e]]++] = e;
  memmove(row + 1, row, nodes * sizeof(int64_t));
  row[0] = 0;
  return 0;
}
"""


class EdgeOrder(Layer):
    """The order of the edges, once for all messages of a model.

    Shapes:    x [node, *], edges [2, edge] -> [2, node + 1 + edge] (see `edge_order`)
    """

    fields: ClassVar = ("edges",)

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return edge_order(edges, x.shape[0])


LIBRARY.define("edge_order(Tensor edges, SymInt nodes) -> Tensor")


def edge_order(edges: Tensor, nodes: int) -> Tensor:
    """Both orders of the edges as one tensor of 2 (nodes + 1 + edge) numbers.

    By target and then by source: `row` [nodes + 1], where each node's edges begin, and `order` [edge], the
    edges' own numbers, in their order within each node.

    Shapes:    edges [2, edge] int64 -> [2, nodes + 1 + edge] int64

    Raises:
        DataError: an edge names a node that does not exist.
    """
    return torch.ops.equic.edge_order(edges, nodes)


def _edge_order(edges: Tensor, nodes: int) -> Tensor:
    count = edges.shape[1]
    edges = edges.contiguous()
    out = torch.empty((2, nodes + 1 + count), dtype=torch.int64)
    sort = toolchain().load(SORT_SOURCE).sort_edges
    sort.restype = ctypes.c_int64
    for row, index in ((0, edges[1]), (1, edges[0])):
        wrong = sort(
            ctypes.c_int64(count),
            ctypes.c_int64(nodes),
            pointer(index),
            pointer(out[row]),
            pointer(out[row, nodes + 1 :]),
        )
        if wrong:
            raise DataError(f"edge {wrong - 1} names node {int(index[wrong - 1])}, and there are {nodes}")
    return out


def _fake(edges: Tensor, nodes: int) -> Tensor:
    return edges.new_empty((2, nodes + 1 + edges.shape[1]))


LIBRARY.impl("edge_order", _edge_order, "CPU")
torch.library.register_fake("equic::edge_order", _fake, lib=LIBRARY)
