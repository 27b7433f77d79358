"""What every pass may read: the spec, its source, the scope of the system, and the report to add to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..ir.ops.base import ANGSTROM, Dial, Known, Scope
from ..ir.types import Index
from ..language.diagnostics import Report
from ..language.elaborate_state import coordinate_dims
from ..language.schema import (
    HardWithin,
    Mode,
    ParticlesSystem,
    Permutation,
    PhaseSpaceSystem,
    Points,
    Relaxed,
    Spec,
)
from ..language.schema_points import PairsNearest
from ..language.source import Source
from ..symmetry.units import Unit


@dataclass(frozen=True, slots=True)
class Context:
    """Explicit context of the passes; `reasons[(op, factor)]` says why an op breaks a factor."""

    spec: Spec
    source: Source
    scope: Scope
    report: Report
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)

    def mode(self, factor: str) -> tuple[Mode, tuple[str, ...]]:
        """How a factor is held, and the path of the spec that says so (empty where nothing does)."""
        if self.scope.is_points and factor in ("translation", "permutation"):
            return "hard", ()
        for group in (factor, "O(3)"):
            if group in self.spec.symmetry and factor in factors_of(group):
                found = self.spec.symmetry[group]
                return (found.mode if isinstance(found, Permutation) else found), ("symmetry", group)
        return "free", ()

    def dials(self) -> tuple[Dial, ...]:
        """The symmetries that are not hard, with their strengths: s, or 1 where free; s = 0 is hard."""
        if not self.scope.is_points:
            return ()
        found: list[Dial] = []
        declared = dict(self.spec.symmetry)
        if "O(3)" in declared:
            found.append(Dial("O(3)", strength_of(declared["O(3)"])))
        else:
            modes = {factor: strength_of(declared.get(factor, "free")) for factor in ("SO(3)", "inversion")}
            if set(modes.values()) == {1.0}:  # no factor is held: the s = 1 twin of O(3)
                found.append(Dial("O(3)", 1.0))
            else:
                found.extend(Dial(factor, strength) for factor, strength in modes.items())
        return tuple(dial for dial in found if dial.strength > 0)


def factors_of(group: str) -> tuple[str, ...]:
    """O(3) is SO(3) times inversion; other groups are one factor."""
    return ("SO(3)", "inversion") if group == "O(3)" else (group,)


def strength_of(mode: Mode) -> float:
    """How far a mode opens its symmetry, the s of a relaxed linear map: 0 hard, 1 free."""
    if isinstance(mode, Relaxed):
        return mode.relaxed
    return 1.0 if mode == "free" else 0.0


def mode_name(mode: Mode) -> str:
    """As a user would write it."""
    if isinstance(mode, Relaxed):
        return f"relaxed: {mode.relaxed:g}"
    if isinstance(mode, HardWithin):
        return f"hard within {mode.hard.within:g}"
    return mode.mode if isinstance(mode, Permutation) else mode


def scope_of(spec: Spec) -> Scope:
    """The factors and sizes that inference needs."""
    if not isinstance(spec.system, PhaseSpaceSystem):
        return _scope_of_points(spec.system)
    coordinates = coordinate_dims(spec.system)
    return Scope("phase_space", tuple(spec.symmetry), coordinates=coordinates)


def _scope_of_points(system: Points) -> Scope:
    factors = ("SO(3)", "inversion", "translation", "permutation")
    inputs = tuple(
        Known(name, Index(one.per), one.rep, Unit.parse(one.unit or "1"))
        for name, one in system.inputs.items()
    )
    nearest = system.interactions.nearest if isinstance(system.interactions, PairsNearest) else None
    return Scope(
        system.kind,
        factors,
        system.species,
        math.inf if system.reach is None else system.reach,
        pairs="nearest" if nearest else "all" if system.interactions == "all" else "within",
        nearest=nearest,
        length=Unit.parse(system.unit or "1") if isinstance(system, ParticlesSystem) else ANGSTROM,
        inputs=inputs,
    )
