"""Symmetric powers by one product after another."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..errors import ArtifactError
from ..irreps import Irreps
from ..tables.chains import Irrep, symmetric_chains
from ..tables.wigner import wigner_3j
from .base import Constant, Layer, Params, parameter
from .power import Power


class RecursivePower(Layer):
    """All equivariant polynomials of the density around an atom, up to a degree, by repeated products.

        X^(1)_b = A_b,   X^(d)_(L,m,c) = sqrt(2 L + 1) sum_(m1,m2) w3j_(m1,m2,m) X^(d-1)_(L',m1,c) A_(b,m2,c)
        out_(L,m,c) = sum_(d, chain) W_(L,d,chain,z,c) s X^(d)_(chain,m,c)

    The chains of products are those of `symmetric_chains`: as many as the coupled basis of `Power` has maps, with the
    same span, and weights of another meaning. s is 1, or the strength of a relaxed inversion for chains that parity
    forbids. Products of the highest degree are taken of what the weights have joined already.

    Shapes:    A [node, in.dim], species [node] -> [node, out.dim]; `weight` [chain, species, channel], chains in the
               order of out block, allowed then forbidden, degree; W ~ N(0, 1) / number of chains of block and degree
    Units:     A dimensionless by convention
    Claims:    O(3)-equivariant (SO(3) where inversion is relaxed); invariant under permutation of neighbours
    Reference: dusson2022atomic
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        source, self.out = Irreps.parse(params["in"]), Irreps.parse(params["out"])
        muls = {block.mul for block in (*source, *self.out)}
        if len(muls) != 1:
            raise ArtifactError(f"a power needs one multiplicity, not `{source}` to `{self.out}`")
        self.channels, self.order = muls.pop(), int(params["order"])
        forbidden = 0.0
        for dial in params.get("relax") or ():
            if dial["group"] in ("inversion", "O(3)"):
                forbidden = float(dial["strength"])
        self.blocks = [block.irrep for block in source]
        self.sizes = [block.size for block in source]
        highest = max(block.l for block in self.out)
        self.levels = symmetric_chains(tuple(self.blocks), self.order, highest)
        self._place(forbidden)
        scales = torch.tensor(self.scales, dtype=torch.float64)[:, None, None]
        self.factors = Constant(scales)
        self.weight = parameter(len(self.scales), int(params["species"]), self.channels)
        self.tables = nn.ModuleDict()
        for first, block, third in self._couplings():
            l1, l2, l3 = first[0], self.blocks[block][0], third[0]
            if _key(l1, l2, l3) not in self.tables:
                table = wigner_3j(l1, l2, l3).transpose(2, 0, 1) * math.sqrt(2 * l3 + 1)
                rows = torch.from_numpy(table.reshape(-1, 2 * l2 + 1).copy())
                self.tables[_key(l1, l2, l3)] = Constant(rows)

    def _place(self, forbidden: float) -> None:
        """Where the weights of every chain lie that some result reads, and which chains must be computed for that.

        `reads`: of each degree (out block, chains, first weight); `kept`: of each degree but the highest the chains.
        """
        self.scales: list[float] = []
        self.reads: list[list[tuple[int, list[int], int]]] = [[] for _ in self.levels]
        for k, block in enumerate(self.out):
            for parity in (block.p, -block.p):
                scale = 1.0 if parity == block.p else forbidden
                for d, level in enumerate(self.levels):
                    mine = [n for n, chain in enumerate(level) if chain.irrep == (block.l, parity)]
                    if mine and scale:
                        self.reads[d].append((k, mine, len(self.scales)))
                        self.scales += [scale] * len(mine)
        needed = [{n for _, chains, _ in reads for n in chains} for reads in self.reads]
        for d in range(self.order - 1, 0, -1):
            needed[d - 1] |= {self.levels[d][n].last for n in needed[d]}
        self.kept = [sorted(chains) for chains in needed[:-1]]
        # of each degree between: (irrep before, block, irrep after) and the chains that arise so
        self.steps: list[list[tuple[Irrep, int, Irrep, list[int]]]] = []
        for d in range(1, self.order - 1):
            groups: dict[tuple[Irrep, int, Irrep], list[int]] = {}
            for n in self.kept[d]:
                groups.setdefault(self._origin(d, n), []).append(n)
            self.steps.append([(*origin, chains) for origin, chains in groups.items()])
        # of the highest degree: for each result what is joined by weights before the product
        self.joined: list[tuple[int, Irrep, int, Irrep, list[int], list[int]]] = []
        if self.order > 1:
            for k, chains, start in self.reads[-1]:
                parts: dict[tuple[Irrep, int, Irrep], list[int]] = {}
                for at, n in enumerate(chains):
                    parts.setdefault(self._origin(self.order - 1, n), []).append(at)
                for origin, places in parts.items():
                    lasts = [self.levels[-1][chains[at]].last for at in places]
                    self.joined.append((k, *origin, lasts, [start + at for at in places]))

    def _origin(self, level: int, n: int) -> tuple[Irrep, int, Irrep]:
        chain = self.levels[level][n]
        return self.levels[level - 1][chain.last].irrep, chain.block, chain.irrep

    def _couplings(self) -> list[tuple[Irrep, int, Irrep]]:
        between = [(a, b, c) for steps in self.steps for a, b, c, _ in steps]
        return between + [(a, b, c) for _, a, b, c, _, _ in self.joined]

    def initialise(self, generator: torch.Generator) -> None:
        counts = {start: len(chains) for reads in self.reads for _, chains, start in reads}
        deviations = [1.0 / n for _, n in sorted(counts.items()) for _ in range(n)]
        with torch.no_grad():
            draw = torch.randn(self.weight.shape, dtype=self.weight.dtype, generator=generator)
            self.weight.copy_(draw * torch.tensor(deviations, dtype=draw.dtype)[:, None, None])

    def forward(self, a: Tensor, species: Tensor) -> Tensor:
        blocks = a.unflatten(1, (-1, self.channels)).split(self.sizes, dim=1)
        # [chain, node, 1, channel]
        weights = (self.weight * self.factors()).index_select(1, species).unsqueeze(2)
        sums = [a.new_zeros(a.shape[0], block.size, self.channels) for block in self.out]
        values = dict(enumerate(blocks))
        for d, reads in enumerate(self.reads if self.order == 1 else self.reads[:-1]):
            if d:
                values = self._products(values, blocks, d)
            for k, chains, start in reads:
                for at, n in enumerate(chains, start=start):
                    sums[k] = sums[k] + values[n] * weights[at]
        for k, before, block, after, lasts, places in self.joined:
            total = values[lasts[0]] * weights[places[0]]
            for n, at in zip(lasts[1:], places[1:], strict=True):
                total = total + values[n] * weights[at]
            filters = self._filters(blocks, before, block, after)
            sums[k] = sums[k] + (filters * total.unsqueeze(1)).sum(2)
        return torch.cat([one.flatten(1) for one in sums], dim=1)

    def _products(self, values: dict[int, Tensor], blocks: tuple[Tensor, ...], d: int) -> dict[int, Tensor]:
        """The chains of one degree from those before, all of one origin at once."""
        found: dict[int, Tensor] = {}
        for before, block, after, chains in self.steps[d - 1]:
            filters = self._filters(blocks, before, block, after).unsqueeze(1)
            stack = torch.stack([values[self.levels[d][n].last] for n in chains], dim=1)
            coupled = (filters * stack.unsqueeze(2)).sum(3)
            found |= dict(zip(chains, coupled.unbind(1), strict=True))
        return found

    def _filters(self, blocks: tuple[Tensor, ...], before: Irrep, block: int, after: Irrep) -> Tensor:
        """The couplings with one block of A: [node, component after, component before, channel]."""
        table = self.tables[_key(before[0], self.blocks[block][0], after[0])]
        return (table() @ blocks[block]).unflatten(1, (2 * after[0] + 1, 2 * before[0] + 1))


def _key(l1: int, l2: int, l3: int) -> str:
    return f"l{l1}_{l2}_{l3}"


def power(params: Params) -> Layer:
    """The `power` step: in the coupled basis, or by repeated products."""
    return RecursivePower(params) if params.get("basis") == "recursive" else Power(params)
