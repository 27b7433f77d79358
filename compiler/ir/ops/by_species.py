"""Values that depend on the species alone: computed once per species, then looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ..types import Categories, Index, Type
from .base import Op, Ref, Scope, Site, Work, result_like


class AllSpecies(Op):
    """The labels themselves, one row for each: 0, 1, ... What is computed from them is a table.

    Type: node categories -> species categories. Verdict: exact.
    """

    kind: Literal["all_species"] = "all_species"
    of: Ref

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (z,) = types
        if not isinstance(z.rep, Categories):
            site.error(
                Code.REP_MISMATCH, f"`all_species` needs species, but gets {z}", help="write `of: species`"
            )
            return None
        return result_like(types, index=Index.SPECIES)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"count": len(scope.species)}


class Lookup(Op):
    """For every node the row of its species in a table: y_i = T[z_i].

    Type: species R, node categories -> node R. Verdict: exact.
    """

    kind: Literal["lookup"] = "lookup"
    of: Ref
    species: Ref

    ports: ClassVar[tuple[str, ...]] = ("of", "species")
    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        table, species = types
        if table.index is not Index.SPECIES:
            site.error(
                Code.INDEX_MISMATCH,
                f"`lookup` reads a table with one row a species, but gets {table}",
                help="compute it from `all_species`",
            )
            return None
        if not isinstance(species.rep, Categories):
            site.error(
                Code.REP_MISMATCH,
                f"`species` of a lookup needs species, but gets {species}",
                help="write `species: species`",
            )
            return None
        return result_like(types, index=species.index)

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        return {result.index: Work(0, result.dim)}
