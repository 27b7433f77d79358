"""Symmetric powers of a feature with itself, per channel, with weights per species."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ArtifactError
from ..irreps import Irreps
from ..tables.spherical import Monomial
from ..tables.symmetric import SymmetricBasis, symmetric_basis
from .base import Constant, Layer, Params, parameter


class _Segment(NamedTuple):
    """Paths of one output block whose polynomials come from one GEMM: their rows there, and their weights."""

    block: int
    product: int
    rows: slice
    paths: slice


class Power(Layer):
    """All equivariant polynomials of the density around an atom, up to a degree.

        out_(L,m,c) = sum_(degree, path) W_(L,degree,path,z,c) s B_(L,degree,path,m)[A_c]

    B is a complete orthonormal basis of equivariant symmetric maps (runtime/tables/symmetric.py); s is 1, or
    the strength of a relaxed inversion for paths that parity forbids. The monomials of A are built one degree
    from the other and multiplied by the table of B: one GEMM per degree and parity.

    Shapes:    A [node, in.dim], species [node] -> [node, out.dim]; `weight` [path, species, channel], paths
               in the order of out block, allowed then forbidden, degree
    Units:     A dimensionless by convention
    Claims:    O(3)-equivariant (SO(3) where inversion is relaxed); invariant under permutation of neighbours
    Reference: batatia2022mace, equation 10
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.source, self.out = Irreps.parse(params["in"]), Irreps.parse(params["out"])
        muls = {block.mul for block in (*self.source, *self.out)}
        if len(muls) != 1:
            raise ArtifactError(f"a power needs one multiplicity, not `{self.source}` to `{self.out}`")
        self.channels, self.order = muls.pop(), int(params["order"])
        self.size = sum(block.size for block in self.source)
        forbidden = 0.0
        for dial in params.get("relax") or ():
            if dial["group"] in ("inversion", "O(3)"):
                forbidden = float(dial["strength"])
        self._tabulate(forbidden)
        self.weight = parameter(len(self.deviation), int(params["species"]), self.channels)

    def _tabulate(self, forbidden: float) -> None:
        blocks = tuple(block.irrep for block in self.source)
        # bases[degree, class][block]: class +1 or -1 is the parity of the monomials, which is that of a path
        # before it is (if forbidden) read as the other one
        bases: dict[tuple[int, int], dict[int, tuple[SymmetricBasis, float]]] = {}
        for k, target in enumerate(self.out):
            for degree in range(1, self.order + 1):
                for parity in (target.p, -target.p) if forbidden else (target.p,):
                    basis = symmetric_basis(blocks, (target.l, parity), degree)
                    if basis.allowed:
                        scale = 1.0 if parity == target.p else forbidden
                        bases.setdefault((degree, parity), {})[k] = basis, scale
        needed = {
            (degree, parity): sorted({m for basis, _ in found.values() for m in basis.monomials})
            for (degree, parity), found in bases.items()
        }
        self._chain(needed)
        self.tables = nn.ModuleList()
        self.factors: list[tuple[int, slice]] = []
        segments: dict[tuple[int, bool, int], tuple[int, slice, int]] = {}
        for number, ((degree, parity), found) in enumerate(bases.items()):
            names = needed[degree, parity]
            place = {name: i for i, name in enumerate(names)}
            rows = []
            for k, (basis, scale) in found.items():
                table = torch.zeros(len(names), *basis.coefficients.shape[1:], dtype=torch.float64)
                table[[place[name] for name in basis.monomials]] = torch.tensor(basis.coefficients) * scale
                start = sum(len(r) for r in rows)
                rows.append(table.flatten(1).T)
                part = slice(start, start + len(rows[-1]))
                segments[k, parity != self.out[k].p, degree] = number, part, len(basis.allowed)
            self.tables.append(Constant(torch.cat(rows).contiguous()))
            start = self.starts[degree][parity]
            self.factors.append((degree, slice(start, start + len(names))))
        self.segments: list[_Segment] = []
        self.deviation: list[float] = []
        for (k, _, _), (number, rows_of, paths) in sorted(segments.items()):
            at = len(self.deviation)
            self.segments.append(_Segment(k, number, rows_of, slice(at, at + paths)))
            self.deviation += [1.0 / paths] * paths
        # adjacent row ranges per product, to split each GEMM's result once
        assert all(a.paths.stop == b.paths.start for a, b in pairwise(self.segments))

    def _chain(self, needed: dict[tuple[int, int], list[Monomial]]) -> None:
        """How to make the monomials of each degree from those of the degree before, times one factor."""
        self.starts: dict[int, dict[int, int]] = {1: {}}
        lists: dict[int, list[Monomial]] = {}
        above: set[Monomial] = set()
        for degree in range(self.order, 1, -1):
            names: list[Monomial] = []
            self.starts[degree] = {}
            for parity in (1, -1):
                self.starts[degree][parity] = len(names)
                names += needed.get((degree, parity), [])
            lists[degree] = names + sorted(above - set(names))
            above = {name[:-1] for name in lists[degree]}
        single: list[Monomial] = []
        for parity in (1, -1):
            self.starts[1][parity] = len(single)
            single += needed.get((1, parity), [])
        lists[1] = single + [(i,) for i in range(self.size) if (i,) not in set(single)]
        self.register_buffer("degree1", torch.tensor([i for (i,) in lists[1]]), persistent=False)
        for degree in range(2, self.order + 1):
            row = {name: i for i, name in enumerate(lists[degree - 1])}
            lower = [row[name[:-1]] for name in lists[degree]]
            factor = [name[-1] for name in lists[degree]]
            self.register_buffer(f"lower{degree}", torch.tensor(lower, dtype=torch.int64), persistent=False)
            self.register_buffer(f"factor{degree}", torch.tensor(factor, dtype=torch.int64), persistent=False)

    def initialise(self, generator: torch.Generator) -> None:
        with torch.no_grad():
            draw = torch.randn(self.weight.shape, dtype=self.weight.dtype, generator=generator)
            self.weight.copy_(draw * torch.tensor(self.deviation, dtype=torch.float64)[:, None, None])

    def forward(self, a: Tensor, species: Tensor) -> Tensor:
        nodes = a.shape[0]
        # component first, then node and channel: a gather copies whole rows, a GEMM sees one matrix
        first = a.unflatten(1, (self.size, self.channels)).transpose(0, 1).flatten(1)
        powers = {1: first.index_select(0, self.get_buffer("degree1"))}
        for degree in range(2, self.order + 1):
            lower, factor = self.get_buffer(f"lower{degree}"), self.get_buffer(f"factor{degree}")
            powers[degree] = powers[degree - 1].index_select(0, lower) * first.index_select(0, factor)
        products = [
            table.value @ powers[degree][rows]
            for table, (degree, rows) in zip(self.tables, self.factors, strict=True)
        ]
        weight = self.weight.index_select(1, species)
        outputs: dict[int, Tensor] = {}
        for segment in self.segments:
            shape = (
                segment.paths.stop - segment.paths.start,
                self.out[segment.block].size,
                nodes,
                self.channels,
            )
            basis = products[segment.product][segment.rows].view(shape)
            term = (basis * weight[segment.paths, None]).sum(0)
            outputs[segment.block] = outputs[segment.block] + term if segment.block in outputs else term
        parts = [
            outputs[k] if k in outputs else a.new_zeros(block.size, nodes, self.channels)
            for k, block in enumerate(self.out)
        ]
        result = parts[0] if len(parts) == 1 else torch.cat(parts)
        return result.transpose(0, 1).flatten(1)
