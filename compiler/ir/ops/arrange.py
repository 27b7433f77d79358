"""The same numbers in another order, fewer of them, or under other names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps
from ..types import Hold, Type
from .base import IrrepsField, Op, Ref, Scope, Site, expect_irreps, read_irreps, result_like

DROP_PARITY = "drop_parity"


def _label(value: object) -> object:
    return value if value == DROP_PARITY else read_irreps(value)


Relabel = Annotated[
    Literal["drop_parity"] | Irreps,
    BeforeValidator(_label),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["drop_parity", "1x0e+1x2e"]}),
]


class Arrange(Op):
    """Pick irreps, sort them, or call them by other names.

    - keep: so many copies of these irreps, the first ones.
    - sort: equal irreps become one block, in the usual order.
    - relabel: the same numbers under other names. `drop_parity` calls everything even; irreps of as many
      components reads them as those. Nothing transforms otherwise because its name has changed: a wrong name
      breaks what it denies.

    They act in this order. Type: R -> parts of R. Verdict: exact; of a relabelling, broken for inversion where a
    parity changes and for SO(3) where a degree does.
    """

    kind: Literal["arrange"] = "arrange"
    of: Ref
    keep: IrrepsField | None = None
    sort: bool = False
    relabel: Relabel | None = None

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not expect_irreps(x, site, "`arrange`"):
            return None
        if self.keep is not None:
            short = [one for one in self.keep.kinds if self.keep.mul_of(one) > x.irreps.mul_of(one)]
            if short:
                names = " and ".join(f"`{self.keep.mul_of(one)}x{one}`" for one in short)
                site.error(
                    Code.UNREACHABLE_BY_LINEAR,
                    f"`keep` asks for {names}, but there is only `{x.irreps.short}`",
                    help=f"ask for some of `{x.irreps.simplified().short}`",
                )
                return None
        rep, _ = self._arranged(x.irreps)
        result = result_like(types, rep=rep, fades=x.fades)
        return result if self.relabel is None else self._relabelled(result, site)

    def _relabelled(self, x: Type, site: Site) -> Type | None:
        new = self._names(x.irreps)
        if new.dim != x.dim:
            site.error(
                Code.REP_MISMATCH,
                f"`{new.short}` has {new.dim} components, but there are {x.dim} numbers in `{x.irreps.short}`",
                help="name as many components as there are",
            )
            return None
        return x.with_(rep=new, holds=_broken_by_names(x, new, site))

    def _names(self, irreps: Irreps) -> Irreps:
        if isinstance(self.relabel, Irreps):
            return self.relabel
        return Irreps(tuple(Block(block.mul, Irrep(block.irrep.l, 1)) for block in irreps))

    def _arranged(self, irreps: Irreps) -> tuple[Irreps, list[list[list[int]]]]:
        """The irreps before relabelling, and for each block its pieces: (block of the input, copies)."""
        pieces: list[tuple[Irrep, int, int]] = []
        left = {one: self.keep.mul_of(one) for one in self.keep.kinds} if self.keep is not None else None
        for k, block in enumerate(irreps):
            taken = block.mul if left is None else min(block.mul, left.get(block.irrep, 0))
            if left is not None and block.irrep in left:
                left[block.irrep] -= taken
            if taken:
                pieces.append((block.irrep, k, taken))
        if not self.sort:
            return Irreps(tuple(Block(n, irrep) for irrep, _, n in pieces)), [[[k, n]] for _, k, n in pieces]
        kinds = sorted({irrep for irrep, _, _ in pieces}, key=lambda irrep: irrep.order)
        groups = [[[k, n] for irrep, k, n in pieces if irrep == kind] for kind in kinds]
        blocks = (Block(sum(n for _, n in group), kind) for kind, group in zip(kinds, groups, strict=True))
        return Irreps(tuple(blocks)), groups

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"in": str(types[0].irreps), "pieces": self._arranged(types[0].irreps)[1]}


def _broken_by_names(x: Type, new: Irreps, site: Site) -> dict[str, Hold]:
    holds = dict(x.holds)
    same_places = [(b.mul, b.irrep.l) for b in x.irreps] == [(b.mul, b.irrep.l) for b in new]
    if not same_places:
        moving = not (x.irreps.all_scalar and new.all_scalar)
        reason = f"it reads the numbers of `{x.irreps.short}` as `{new.short}`"
        return site.broken(holds, ("SO(3)", "inversion") if moving else ("inversion",), reason)
    wrong = [str(old) for old, named in zip(x.irreps, new, strict=True) if old.irrep.p != named.irrep.p]
    if wrong:
        parts = "+".join(wrong[:4]) + ("+…" if len(wrong) > 4 else "")
        holds = site.broken(holds, ("inversion",), f"it forgets how `{parts}` changes under inversion")
    return holds
