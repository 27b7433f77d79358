"""Labels that cannot be used, that say nothing, or that seem to be in other units."""

from __future__ import annotations

from collections.abc import Iterator

from equic.runtime.data.plausible import LARGEST_STRESS, length_unit, unit_of_forces, unit_of_totals
from equic.runtime.plan import Plan

from .findings import Checked, Finding, Kind

_KIND_OF_TROUBLE: dict[str, Kind] = {
    "missing": "missing",
    "numbers": "shape",
    "shape": "shape",
    "symmetric": "shape",
    "finite": "finite",
}


def label_findings(plan: Plan, one: Checked) -> Iterator[Finding]:
    """Everything about the labels of one set that can be said without looking at another."""
    total = one.facts.frames + len(one.facts.isolated)
    for target, label in one.facts.labels.items():
        for trouble in label.troubles:
            place, related = one.label(target, "key")
            if target == "state":
                place, related = (*one.at, "state"), ()
            count = f" ({trouble.count} of {total} frames)" if plan.kind == "atoms" and total > 1 else ""
            where = f"{one.file}: " if plan.kind == "atoms" else ""
            yield Finding(
                _KIND_OF_TROUBLE[trouble.problem],
                True,
                place,
                f"{where}{trouble.message}{count}",
                trouble.help or _HELP[trouble.problem],
                related,
            )
        if label.not_periodic:
            place, related = one.label(target)
            yield Finding(
                "periodic",
                True,
                place,
                f"{one.file} has a stress on {label.not_periodic} of {one.facts.frames} frames that are not "
                f"periodic in all directions (frame {label.first_not_periodic} is the first)",
                "a stress needs a volume: remove the label, or give the frames a cell and `pbc`",
                related,
            )
        if label.found > 1 and not label.varies:
            place, related = one.label(target, "key")
            what = "zero" if label.largest == label.smallest == 0.0 else "the same"
            yield Finding(
                "constant",
                False,
                place,
                f"`{target}` is {what} in all {label.found} frames of {one.file}: nothing can be learned from it",
                "check that the key names the quantity that you mean",
                related,
            )


_HELP = {
    "missing": "name a key that every frame has",
    "numbers": "name a key that holds numbers",
    "shape": "name the key of this quantity, or reshape the data",
    "symmetric": "give the symmetric part",
    "finite": "remove the frame, or repeat the calculation behind it",
}


def unit_findings(plan: Plan, one: Checked) -> Iterator[Finding]:
    """Numbers of a size that another unit explains, where the model computes in eV and Å."""
    facts = one.facts
    energy, forces, stress = (facts.labels.get(name) for name in ("energy", "forces", "stress"))
    guessed = None
    if (
        energy is not None
        and energy.found
        and plan.outputs["energy"].unit == "eV"
        and facts.totals is not None
    ):
        guessed = unit_of_totals(facts.totals)
        if guessed not in (None, "eV"):
            yield _unit(
                one, "energy", f"look like totals in {guessed}: the free atoms add up to them", guessed
            )
    if forces is not None and forces.found and plan.outputs["forces"].unit == "eV/Å":
        unit = unit_of_forces(forces.rms)
        if unit is not None:
            words = f"have an RMS of {forces.rms:.3g} eV/Å, far above what is usual: they look like {unit}"
            yield _unit(one, "forces", words, None if " " in unit else unit)
    if stress is not None and stress.found and plan.outputs["stress"].unit == "eV/Å^3":
        size = max(abs(stress.smallest), abs(stress.largest))
        if size > LARGEST_STRESS:
            words = f"reach {size:.3g} eV/Å^3, which is {160.2177 * size:,.0f} GPa"
            yield _unit(one, "stress", f"{words}: they look like GPa or kbar", "GPa")
    length = length_unit(facts.nearest)
    if length is not None:
        assert facts.nearest is not None
        yield Finding(
            "unit",
            False,
            (*one.at, "path"),
            f"nearest atoms of {one.file} are {facts.nearest:.2g} bond lengths apart: its positions look like {length}",
            f"positions and cells are read as Å: write the file anew with its lengths converted from {length}",
        )


def _unit(one: Checked, target: str, words: str, unit: str | None) -> Finding:
    place, related = one.label(target)
    help = f"write `unit: {unit}` if that is the unit of the file" if unit else "check the unit of the file"
    return Finding("unit", False, place, f"the {_PLURAL[target]} of {one.file} {words}", help, related)


_PLURAL = {"energy": "energies", "forces": "forces", "stress": "stresses"}
