"""Labels that contradict each other: forces and energies, stress and volume, rates and states, atoms and totals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from equic.runtime.data.plausible import ORDINARY_BINDING, unit_of_binding, unit_of_totals
from equic.runtime.plan import Plan

from .findings import Checked, Finding
from .trends import Trend

# The rule behind the prediction is good to the third order of the displacement: in real sets the ratio is 0.8 to 1.1.
_AGREES = (0.6, 1.6)
# ratios, either way round, that a mistaken unit leaves between energies and the work of forces
_FORCES = {
    "kcal/mol and eV": 23.0605,
    "kJ/mol and eV": 96.4853,
    "Ha/bohr and eV/Å": 51.4221,
    "Ha and eV": 27.2114,
    "bohr and Å": 1.8897,
    "Ha and kcal/mol": 627.509,
    "Ha/bohr and kcal/mol/Å": 1185.8,
}
_STRESS = {"GPa": 1 / 160.2177, "kbar": 1 / 1602.177, "bar": 1 / 1602177.0, "Ha/bohr^3": 183.63}


def contradictions(plan: Plan, one: Checked) -> Iterator[Finding]:
    """Trends that labels which belong together cannot have."""
    forces, stress, rates = one.facts.forces_trend, one.facts.stress_trend, one.facts.rates_trend
    if forces is not None:
        yield from _forces(one, forces)
    if stress is not None:
        yield from _stress(one, stress)
    if rates is not None:
        yield from _rates(plan, one, rates)


def _forces(one: Checked, trend: Trend) -> Iterator[Finding]:
    place, related = one.label("forces")
    energy, _ = one.label("energy")
    if energy != place:
        related = (*related, (energy, "the energies"))
    pairs = f"(rank correlation {trend.rank:.2f} over {trend.pairs} pairs)"
    if trend.follows < 0:
        yield Finding(
            "contradiction",
            False,
            place,
            f"energies of {one.file} rise where its forces point {pairs}",
            "these look like gradients, not forces: write the file anew with the sign of the forces changed",
            related,
        )
    elif trend.follows > 0 and not _AGREES[0] < trend.ratio < _AGREES[1]:
        high = one.facts.atoms[1]
        known = _FORCES if high < 3 else {**_FORCES, f"1 and the {high} atoms of a structure": float(high)}
        name = _explanation(max(trend.ratio, 1 / trend.ratio), known)
        yield Finding(
            "contradiction",
            False,
            place,
            f"energies of {one.file} change {trend.ratio:.2g} times as much as its forces say {pairs}",
            f"that is, within the error, the ratio of {name}: check the units of both"
            if name
            else "check the units of both",
            related,
        )
    elif trend.is_absent:
        yield Finding(
            "contradiction",
            False,
            place,
            f"energies of {one.file} do not follow its forces {pairs}",
            "check that energies and forces belong to the same frames, and the order of the atoms",
            related,
        )


def _stress(one: Checked, trend: Trend) -> Iterator[Finding]:
    place, related = one.label("stress")
    pairs = f"(rank correlation {trend.rank:.2f} over {trend.pairs} pairs)"
    if trend.follows < 0:
        unit = "" if _AGREES[0] < trend.ratio < _AGREES[1] else _explanation(trend.ratio, _STRESS)
        yield Finding(
            "contradiction",
            False,
            place,
            f"energies of {one.file} fall where its stress says that they rise {pairs}",
            "the stress has the other sign, as VASP writes it: change it, positive is tension"
            + (f"; its size is that of {unit}" if unit else ""),
            related,
        )
    elif trend.follows > 0 and not _AGREES[0] < trend.ratio < _AGREES[1]:
        name = _explanation(trend.ratio, _STRESS)
        yield Finding(
            "contradiction",
            False,
            place,
            f"energies of {one.file} change {trend.ratio:.2g} times as much with the cell as its stress says {pairs}",
            f"that ratio is the one of a stress in {name}: write `unit: {name}`"
            if name
            else "check its unit",
            related,
        )


def _rates(plan: Plan, one: Checked, trend: Trend) -> Iterator[Finding]:
    target = next(iter(one.facts.labels))
    place, related = one.label(target)
    pairs = f"(rank correlation {trend.rank:.2f} over {trend.pairs} steps)"
    wrong = None
    if trend.follows < 0:
        wrong = f"states of {one.file} move against their `{target}` {pairs}"
    elif trend.follows > 0 and not _AGREES[0] < trend.ratio < _AGREES[1]:
        wrong = f"states of {one.file} move {trend.ratio:.2g} times as fast as `{target}` says {pairs}"
    elif trend.is_absent:
        wrong = f"states of {one.file} do not move as `{target}` says {pairs}"
    if wrong is not None:
        help = "check the unit of the time, and that coordinates and momenta stand in the same order in both"
        yield Finding("contradiction", False, place, wrong, help, related)


def _explanation(ratio: float, known: Mapping[str, float]) -> str | None:
    """The known ratio within 30 % of this one, the closest if several are."""
    near = {name: max(ratio / value, value / ratio) for name, value in known.items()}
    best = min(near, key=lambda name: near[name])
    return best if near[best] < 1.3 else None


def binding_findings(plan: Plan, train: Checked) -> Iterator[Finding]:
    """Energies of free atoms that do not belong to the totals: structures bound by 100 eV an atom, or not at all."""
    given = None if plan.data is None else plan.data["isolated_atoms"]
    if plan.kind != "atoms" or "energy" not in plan.outputs or plan.outputs["energy"].unit != "eV":
        return
    free = given if isinstance(given, Mapping) else train.facts.isolated if given == "frames" else {}
    if not free or not all(isinstance(value, (int, float)) for value in free.values()):
        return
    atoms = energies = reference = 0.0
    for counts, frames, mean in train.facts.compositions:
        if set(counts) <= set(free):
            atoms += frames * sum(counts.values())
            energies += frames * mean
            reference += frames * sum(count * float(free[symbol]) for symbol, count in counts.items())
    if not atoms:
        return
    binding = (energies - reference) / atoms
    low, high = ORDINARY_BINDING
    if low < binding < high:
        return
    words = f"{_amount(abs(binding))} eV an atom {'above' if binding > 0 else 'below'} the isolated atoms"
    help = "take the free atoms from the same calculations as the totals, or write `isolated_atoms: least_squares`"
    sure = train.facts.totals is not None and unit_of_totals(train.facts.totals) == "eV"
    unit = None if sure else unit_of_binding(energies / atoms, reference / atoms)
    if unit is not None:
        help = f"read as {unit}, the energies would lie as usual: check the unit of the label"
    elif low < (energies - 27.2114 * reference) / atoms < high:
        help = "read as Ha, the energies of the isolated atoms would fit: give them in eV"
    yield Finding(
        "binding",
        False,
        ("data", "isolated_atoms"),
        f"structures of {train.file} lie {words}; chemical bonds are worth 0 to 10 eV",
        help,
        ((train.label("energy")[0], "the energies"),),
    )


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
