"""Linear maps between representations: those that a group allows, and a measured dose of the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ArtifactError
from ..irreps import Block, Irreps
from .base import Constant, Layer, Params, fill_normal, parameter

# with at most this many species, all their maps as one GEMM cost less than one small GEMM per atom
_FEW_SPECIES = 8


class _Kind(NamedTuple):
    """All blocks of one irrep on both sides: one matrix [fan_in, fan_out]."""

    irrep: tuple[int, int]
    sources: tuple[Block, ...]
    targets: tuple[Block, ...]
    fan_in: int
    fan_out: int
    commutant: int

    @property
    def size(self) -> int:
        return self.targets[0].size


class Linear(Layer):
    """The equivariant linear map, and under relaxed symmetries a free one, scaled, beside it.

        y_(m,v) = sum_u W_(u,v) x_(m,u) / sqrt(fan_in)        within each irrep (l, p); W ~ N(0, 1)
                + sum s ((1 - P) V)_(mv,m'u) x_(m',u) / sqrt(in.dim)     V ~ N(0, 1), `breaking`

    P keeps the part of V that is equivariant under all factors. s is the strength of the factor that an entry
    breaks, the product where it breaks two, and 0 where that factor is hard. Dials: "O(3)" one strength for
    whatever is not O(3)-equivariant; "SO(3)" and "inversion" apart; "SO(2)". For SO(2) irreps with m > 0 the
    equivariant maps are a + b J, J the quarter turn; u runs over (x, J x), so fan_in is twice the channels.

    Shapes:    x [*, in.dim], species [*] if there is one map per species -> y [*, out.dim].
               `weight` ([species,] all W row by row, irreps in order of `out`), `breaking` ([species,]
               out.dim, in.dim), `bias` (invariant channels of out), `breaking_bias` (the others)
    Units:     y has those of x
    Claims:    equivariant under every hard factor; under a relaxed one up to an error linear in s
    Reference: geiger2022e3nn; the dial: finzi2021residual
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.source, self.out = Irreps.parse(params["in"]), Irreps.parse(params["out"])
        self.species = None if params["species"] is None else int(params["species"])
        lead = () if self.species is None else (self.species,)
        if self.species is not None:
            self.register_buffer("numbers", torch.arange(self.species), persistent=False)
        self.kinds = _kinds(self.source, self.out)
        self.weight = parameter(*lead, sum(kind.fan_in * kind.fan_out for kind in self.kinds))
        self.breaking: nn.Parameter | None = None
        dials = _Dials(params.get("relax") or ())
        if dials.strengths:
            self._relax(dials, lead)
        self._make_bias(bool(params["bias"]), dials)

    def _relax(self, dials: _Dials, lead: tuple[int, ...]) -> None:
        """Tables for y += (R * V) x + (what takes P V and its like out again).

        R holds each entry's strength as if nothing of it were equivariant. The maps m' = m between blocks
        of equal l break less: their coefficients in V, means over m, enter the equivariant maps with the
        difference.
        """
        self.breaking = parameter(*lead, self.out.dim, self.source.dim)
        norm = 1.0 / math.sqrt(self.source.dim)
        scales = torch.zeros(self.out.dim, self.source.dim, dtype=torch.float64)
        for target in self.out:
            for source in self.source:
                moves = target.size > 1 or source.size > 1
                flips = target.p != source.p
                scales[target.slice, source.slice] = norm * dials.scale(moves, flips)
        self.scales = Constant(scales)
        self.corrections: list[tuple[_Kind, float]] = []
        for kind in _pairs(self.source, self.out):
            flips = kind.sources[0].p != kind.targets[0].p
            excess = dials.scale(False, flips) - dials.scale(kind.size > 1, flips)
            if excess and kind.size > 1:
                number = len(self.corrections)
                self.corrections.append((kind, excess * norm / kind.size))
                entries, signs = _commutant_entries(kind, self.source.dim)
                self.register_buffer(f"entries{number}", entries, persistent=False)
                self.add_module(f"signs{number}", Constant(signs))

    def _make_bias(self, wanted: bool, dials: _Dials) -> None:
        self.bias: nn.Parameter | None = None
        self.breaking_bias: nn.Parameter | None = None
        if not wanted:
            return
        fixed, moved, scales = [], [], []
        for block in self.out:
            columns = list(range(block.start, block.start + block.dim))
            strength = dials.scale(block.size > 1, block.p == -1)
            if block.size == 1 and block.p != -1:
                fixed += columns
            elif strength:
                moved += columns
                scales += [strength] * block.dim
        self.bias = parameter(len(fixed))
        self.register_buffer("bias_columns", torch.tensor(fixed, dtype=torch.int64), persistent=False)
        if moved:
            self.breaking_bias = parameter(len(moved))
            self.register_buffer("breaking_columns", torch.tensor(moved), persistent=False)
            self.bias_scales = Constant(torch.tensor(scales, dtype=torch.float64))

    def initialise(self, generator: torch.Generator) -> None:
        fill_normal(self.weight, generator)
        if self.breaking is not None:
            fill_normal(self.breaking, generator)

    def forward(self, x: Tensor, species: Tensor | None = None) -> Tensor:
        pick = None if species is None else self._one_hot(species, x.dtype)
        # split, not sliced: the gradient of a slice is a whole tensor of zeros around it
        pieces = dict(zip(self.source, x.split([block.dim for block in self.source], dim=-1), strict=True))
        weights = self.weight.split([kind.fan_in * kind.fan_out for kind in self.kinds], dim=-1)
        parts: dict[Block, Tensor] = {}
        for kind, weight in zip(self.kinds, weights, strict=True):
            matrix = weight.unflatten(-1, (kind.fan_in, kind.fan_out)) * (1.0 / math.sqrt(kind.fan_in))
            _put(parts, kind, self._apply_matrix(_collect(pieces, kind), matrix, species, pick))
        if self.breaking is not None:
            for number, (kind, scale) in enumerate(self.corrections):
                matrix = self._coefficients(self.breaking, number) * scale
                _put(parts, kind, self._apply_matrix(_collect(pieces, kind), matrix, species, pick))
        y = self._assemble(x, parts)
        if self.breaking is not None:
            free = (self.breaking * self.scales.value).transpose(-1, -2)
            y = y + self._apply_matrix(x.unsqueeze(-2), free, species, pick).squeeze(-2)
        return y if self.bias is None else y + self._bias_vector(y)

    def _coefficients(self, breaking: Tensor, number: int) -> Tensor:
        """Sums over m of V along each map that commutes with the group: [species?, fan_in, fan_out]."""
        entries = self.get_buffer(f"entries{number}")
        signs = self.get_submodule(f"signs{number}")
        assert isinstance(signs, Constant)
        taken = breaking.flatten(-2).index_select(-1, entries.flatten()).unflatten(-1, entries.shape)
        return (taken * signs.value).sum(-3)

    def _one_hot(self, species: Tensor, dtype: torch.dtype) -> Tensor | None:
        if self.species is None or self.species > _FEW_SPECIES:
            return None
        return (species[:, None] == self.get_buffer("numbers")).to(dtype)

    def _apply_matrix(self, x: Tensor, matrix: Tensor, species: Tensor | None, pick: Tensor | None) -> Tensor:
        """x [*, m, in] times matrix [in, out], or one matrix per species [species, in, out]."""
        if species is None:
            return x @ matrix
        if pick is None:
            return torch.bmm(x, matrix.index_select(0, species))
        # every species has its own columns, of which each atom fills one set
        spread = (x[:, :, None, :] * pick[:, None, :, None]).flatten(2)
        return spread @ matrix.flatten(0, 1)

    def _assemble(self, x: Tensor, parts: dict[Block, Tensor]) -> Tensor:
        blocks = [
            parts[block] if block in parts else x.new_zeros((*x.shape[:-1], block.dim)) for block in self.out
        ]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-1)

    def _bias_vector(self, y: Tensor) -> Tensor:
        assert self.bias is not None
        vector = y.new_zeros(self.out.dim).index_add(0, self.get_buffer("bias_columns"), self.bias)
        if self.breaking_bias is None:
            return vector
        extra = self.breaking_bias * self.bias_scales.value
        return vector.index_add(0, self.get_buffer("breaking_columns"), extra)


class _Dials:
    """How strongly each factor may be broken."""

    _ROTATIONS = ("SO(3)", "SO(2)")

    def __init__(self, relax: Sequence[dict[str, Any]]) -> None:
        self.strengths = {dial["group"]: float(dial["strength"]) for dial in relax}
        unknown = set(self.strengths) - {"O(3)", "inversion", *self._ROTATIONS}
        if unknown:
            raise ArtifactError(f"a linear map cannot relax `{min(unknown)}`")

    def scale(self, moves: bool, flips: bool) -> float:
        """The strength of an entry that breaks rotations (`moves`) or parity (`flips`); 0 where neither."""
        if not (moves or flips):
            return 0.0
        if "O(3)" in self.strengths:
            return self.strengths["O(3)"]
        rotation = max((self.strengths.get(name, 0.0) for name in self._ROTATIONS), default=0.0)
        return (rotation if moves else 1.0) * (self.strengths.get("inversion", 0.0) if flips else 1.0)


def _kinds(source: Irreps, out: Irreps) -> list[_Kind]:
    """What occurs on both sides, in order of `out`."""
    if source.group != out.group and {source.group, out.group} != {"trivial", "SO(2)"}:
        raise ArtifactError(f"no linear map leads from `{source}` to `{out}`")
    return [_kind(source, out, irrep, irrep) for irrep in out.kinds if irrep in source.kinds]


def _pairs(source: Irreps, out: Irreps) -> list[_Kind]:
    """All pairs of irreps of equal l, whatever their parities."""
    return [_kind(source, out, a, b) for b in out.kinds for a in source.kinds if a[0] == b[0]]


def _kind(source: Irreps, out: Irreps, a: tuple[int, int], b: tuple[int, int]) -> _Kind:
    sources = tuple(block for block in source if block.irrep == a)
    targets = tuple(block for block in out if block.irrep == b)
    commutant = 2 if source.group == "SO(2)" and a[0] > 0 else 1
    fan_in = commutant * sum(block.mul for block in sources)
    return _Kind(b, sources, targets, fan_in, sum(block.mul for block in targets), commutant)


def _collect(pieces: dict[Block, Tensor], kind: _Kind) -> Tensor:
    """The channels of one irrep, [*, m, fan_in]; for planes also turned by a quarter, J x = (-x_1, x_0)."""
    parts = [pieces[block].unflatten(-1, (block.size, block.mul)) for block in kind.sources]
    if kind.commutant == 2:
        parts += [torch.stack((-part[..., 1, :], part[..., 0, :]), dim=-2) for part in parts]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _put(parts: dict[Block, Tensor], kind: _Kind, value: Tensor) -> None:
    """Add [*, m, fan_out] to the blocks of `parts` that it belongs to."""
    pieces = value.split([block.mul for block in kind.targets], dim=-1)
    for block, piece in zip(kind.targets, pieces, strict=True):
        flat = piece.flatten(-2)
        parts[block] = parts[block] + flat if block in parts else flat


def _commutant_entries(kind: _Kind, columns: int) -> tuple[Tensor, Tensor]:
    """Where in a flat [out.dim, columns] matrix the equivariant maps of a kind lie, and with which signs.

    Shapes: entries and signs [size, fan_in, fan_out]; the sum of signs * V[entries] over the first axis is
    `size` times the coefficient of each map.
    """

    def place(blocks: tuple[Block, ...], m: int) -> Tensor:
        return torch.cat([torch.arange(block.mul) + block.start + m * block.mul for block in blocks])

    entries, signs = [], []
    for m in range(kind.size):
        column = place(kind.sources, m)[:, None]
        entry = place(kind.targets, m)[None, :] * columns + column
        sign = torch.ones(entry.shape, dtype=torch.float64)
        if kind.commutant == 2:  # J takes component 0 to 1 with sign +, and 1 to 0 with sign -
            turned = place(kind.targets, 1 - m)[None, :] * columns + column
            entry, sign = torch.cat((entry, turned)), torch.cat((sign, sign if m == 0 else -sign))
        entries.append(entry)
        signs.append(sign)
    return torch.stack(entries), torch.stack(signs)
