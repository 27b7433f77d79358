"""Symmetric powers of a feature with itself, per channel, with weights per species."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ArtifactError
from ..irreps import Irreps
from ..tables.spherical import Monomial
from ..tables.symmetric import SymmetricBasis, symmetric_basis
from .base import Constant, Layer, Params, parameter


class _Term(NamedTuple):
    """Some paths to one output block: piece `piece` of GEMM `product`, and how many paths it holds."""

    block: int
    product: int
    piece: int
    paths: int


class Power(Layer):
    """All equivariant polynomials of the density around an atom, up to a degree.

        out_(L,m,c) = sum_(degree, path) W_(L,degree,path,z,c) s B_(L,degree,path,m)[A_c]

    B is a complete orthonormal basis of equivariant symmetric maps (runtime/tables/symmetric.py); s is 1, or
    the strength of a relaxed inversion for paths that parity forbids. The monomials of A are built one degree
    from the other and multiplied by the table of B: one GEMM per degree and parity.

    Shapes:    A [node, in.dim], species [node] -> [node, out.dim]; `weight` [path, species, channel], paths
               in the order of out block, allowed then forbidden, degree; W ~ N(0, 1) / number of paths of its
               block and degree
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
        self.weight = parameter(sum(term.paths for term in self.terms), int(params["species"]), self.channels)

    def _tabulate(self, forbidden: float) -> None:
        """The tables of B: one for each degree and parity of monomials, rows (out block, path, m)."""
        blocks = tuple(block.irrep for block in self.source)
        self.tables = nn.ModuleList()
        self.pieces: list[list[int]] = []  # of each table: how many rows each out block takes
        self.monomials: list[list[Monomial]] = []  # of each table: what its columns stand for
        names: dict[int, list[list[Monomial]]] = {degree: [] for degree in range(1, self.order + 1)}
        terms: list[tuple[int, bool, _Term]] = []
        for degree in range(1, self.order + 1):
            for parity in (1, -1):
                found: dict[int, SymmetricBasis] = {}
                for k, target in enumerate(self.out):
                    if parity == target.p or forbidden:
                        basis = symmetric_basis(blocks, (target.l, parity), degree)
                        if basis.allowed:
                            found[k] = basis
                if not found:
                    continue
                rows = sorted({monomial for basis in found.values() for monomial in basis.monomials})
                place = {monomial: i for i, monomial in enumerate(rows)}
                names[degree].append(rows)
                parts = []
                for k, basis in found.items():
                    broken = parity != self.out[k].p
                    table = torch.zeros(len(rows), *basis.coefficients.shape[1:], dtype=torch.float64)
                    table[[place[monomial] for monomial in basis.monomials]] = torch.tensor(
                        basis.coefficients
                    )
                    parts.append(table.flatten(1).T * (forbidden if broken else 1.0))
                    term = _Term(k, len(self.tables), len(parts) - 1, len(basis.allowed))
                    terms.append((k, broken, term))
                self.tables.append(Constant(torch.cat(parts).contiguous()))
                self.pieces.append([len(part) for part in parts])
                self.monomials.append(rows)
        self.terms = [term for _, _, term in sorted(terms, key=lambda item: item[:2])]
        self._chain(names)

    def _chain(self, names: dict[int, list[list[Monomial]]]) -> None:
        """How each degree's monomials arise from those of the degree before, times one factor.

        `sections`: for each degree, how many monomials each table reads, then how many only the next degree does.
        """
        lists: dict[int, list[Monomial]] = {}
        self.sections: dict[int, list[int]] = {}
        above: set[Monomial] = set()
        for degree in range(self.order, 0, -1):
            read = [monomial for rows in names[degree] for monomial in rows]
            rest = sorted(above - set(read))
            lists[degree] = read + rest
            self.sections[degree] = [*(len(rows) for rows in names[degree]), len(rest)]
            above = {monomial[:-1] for monomial in lists[degree]}
        for degree in range(1, self.order + 1):
            row = {name: i for i, name in enumerate(lists.get(degree - 1, ()))}
            factor = torch.tensor([name[-1] for name in lists[degree]], dtype=torch.int64)
            self.register_buffer(f"factor{degree}", factor, persistent=False)
            if degree > 1:
                lower = torch.tensor([row[name[:-1]] for name in lists[degree]], dtype=torch.int64)
                self.register_buffer(f"lower{degree}", lower, persistent=False)

    def initialise(self, generator: torch.Generator) -> None:
        deviations = [1.0 / term.paths for term in self.terms for _ in range(term.paths)]
        with torch.no_grad():
            draw = torch.randn(self.weight.shape, dtype=self.weight.dtype, generator=generator)
            self.weight.copy_(draw * torch.tensor(deviations, dtype=draw.dtype)[:, None, None])

    def forward(self, a: Tensor, species: Tensor) -> Tensor:
        nodes = a.shape[0]
        pieces = self._polynomials(a)
        weights = self.weight.index_select(1, species).split([term.paths for term in self.terms])
        sums: dict[int, Tensor] = {}
        for term, weight in zip(self.terms, weights, strict=True):
            size = self.out[term.block].size
            basis = pieces[term.product][term.piece].view(term.paths, size, nodes, self.channels)
            value = (basis * weight[:, None]).sum(0)
            sums[term.block] = sums[term.block] + value if term.block in sums else value
        parts = [
            sums[k] if k in sums else a.new_zeros(block.size, nodes, self.channels)
            for k, block in enumerate(self.out)
        ]
        result = parts[0] if len(parts) == 1 else torch.cat(parts)
        return result.transpose(0, 1).flatten(1)

    def _polynomials(self, a: Tensor) -> list[tuple[Tensor, ...]]:
        """B[A] for each table, split by out block: [rows, node * channel]."""
        # component first, then node and channel: a gather copies whole rows, a GEMM sees one matrix
        first = a.unflatten(1, (self.size, self.channels)).transpose(0, 1).flatten(1)
        read: list[Tensor] = []
        power = first
        for degree in range(1, self.order + 1):
            factor = first.index_select(0, self.get_buffer(f"factor{degree}"))
            if degree == 1:
                power = factor
            else:
                power = power.index_select(0, self.get_buffer(f"lower{degree}")) * factor
            # split, not sliced: the gradient of a slice is a whole tensor of zeros around it
            sections = self.sections[degree]
            read += [power] if len(sections) == 2 and not sections[1] else power.split(sections)[:-1]
        products = [table() @ monomials for table, monomials in zip(self.tables, read, strict=True)]
        return [product.split(rows) for product, rows in zip(products, self.pieces, strict=True)]
