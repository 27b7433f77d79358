"""What the schema cannot say: keys of the spec that must agree with each other."""

from __future__ import annotations

import difflib

from ..language.codes import Code
from ..language.diagnostics import Report
from ..language.schema import GROUPS, AtomsSystem, DataSet, Relaxed, Spec
from ..language.source import Source
from ..symmetry.units import Unit
from .context import factors_of


def check_spec(spec: Spec, source: Source, report: Report) -> None:
    """Report groups that the system does not have, factors declared twice, and labels without a target."""
    _check_groups(spec, source, report)
    _check_labels(spec, source, report)
    _check_objective(spec, source, report)
    for name in spec.train.loss:
        if name not in spec.targets:
            _no_target(name, spec, ("train", "loss", name), source, report)
    if spec.constraints.hamiltonian is not None and isinstance(spec.system, AtomsSystem):
        report.error(
            Code.CONFLICTING_KEYS,
            source.span(("constraints", "hamiltonian"), key=True),
            "a Hamiltonian constraint needs `kind: phase_space`, but the system is atoms",
            help="remove it: forces declared with `gradient_of: energy` are conservative already",
        )


def _check_groups(spec: Spec, source: Source, report: Report) -> None:
    kind = spec.system.kind
    known = GROUPS[kind]
    seen: dict[str, str] = {}
    for group, mode in spec.symmetry.items():
        path = ("symmetry", group)
        if group not in known:
            close = difflib.get_close_matches(group, known, n=1, cutoff=0.5)
            implied = group in ("translation", "permutation") and kind == "atoms"
            report.error(
                Code.UNKNOWN_GROUP,
                source.span(path, key=True),
                f"`{group}` is implied by atoms, and hard" if implied else f"{kind} has no group `{group}`",
                help="remove the line"
                if implied
                else (f"did you mean `{close[0]}`?" if close else f"groups of {kind}: {', '.join(known)}"),
            )
            continue
        for factor in factors_of(group):
            if factor in seen:
                report.error(
                    Code.CONFLICTING_KEYS,
                    source.span(path, key=True),
                    f"`{group}` and `{seen[factor]}` both hold {factor}",
                    help="declare O(3), or SO(3) and inversion",
                    related=((source.span(("symmetry", seen[factor]), key=True), "first declared here"),),
                )
            seen[factor] = group
        if kind == "phase_space" and isinstance(mode, Relaxed) and mode.relaxed > 0:
            report.error(
                Code.UNKNOWN_GROUP,
                source.span((*path, "relaxed"), key=True),
                "a phase space holds a symmetry `hard` or `free` in this version",
                help="write `hard` or `free`",
            )
    if kind == "phase_space" and "SO(2)" in spec.symmetry:
        _check_planar(spec, source, report)


def _check_planar(spec: Spec, source: Source, report: Report) -> None:
    assert not isinstance(spec.system, AtomsSystem)
    for name, rep in spec.system.coordinates.items():
        if rep.isdigit():
            report.error(
                Code.BAD_COORDINATES,
                source.span(("system", "coordinates", name)),
                f"SO(2) is declared, but `{name}: {rep}` does not say how it rotates",
                help="write irreps of SO(2): `1x1` for a vector in the plane, `1x0` for a scalar",
                related=((source.span(("symmetry", "SO(2)"), key=True), "declared here"),),
            )


def _check_labels(spec: Spec, source: Source, report: Report) -> None:
    if spec.data is None:
        return
    if not spec.data.train.labels:
        report.error(
            Code.MISSING_KEY,
            source.span(("data", "train"), key=True),
            "the training set has no labels",
            help=f"write `labels: {{{next(iter(spec.targets))}: {{key: ...}}}}` with the key in the file",
        )
    sets = {"train": spec.data.train, "validation": spec.data.validation, "test": spec.data.test}
    for set_name, part in {**sets, **spec.data.others}.items():
        if not isinstance(part, DataSet) or part.labels is None:
            continue
        base = ("data", *(("others",) if set_name in spec.data.others else ()), set_name, "labels")
        for name, label in part.labels.items():
            if name not in spec.targets:
                _no_target(name, spec, (*base, name), source, report)
                continue
            declared = spec.targets[name].unit
            if label.unit and declared and Unit.parse(label.unit).dimension != Unit.parse(declared).dimension:
                report.error(
                    Code.UNIT_MISMATCH,
                    source.span((*base, name, "unit")),
                    f"the label of `{name}` is in {label.unit}, but the target is in {declared}",
                    help="use units of one dimension; the label is converted",
                    related=((source.span(("targets", name, "unit")), "the target's unit"),),
                )


STATISTICS = ("rmse", "mae")


def _check_objective(spec: Spec, source: Source, report: Report) -> None:
    """`tune.minimize` is SET.TARGET.STATISTIC, and all three must exist."""
    if spec.tune is None:
        return
    data = spec.data
    sets = ["train", "validation", *(["test"] if data and data.test else []), *(data.others if data else ())]
    labels = (data.train.labels if data is not None else None) or spec.targets
    parts = spec.tune.minimize.split(".")
    choices = (sets, list(labels), list(STATISTICS))
    if len(parts) == 3 and all(part in known for part, known in zip(parts, choices, strict=True)):
        return
    every = [".".join(("validation", target, "rmse")) for target in labels]
    close = difflib.get_close_matches(spec.tune.minimize, every, n=1)
    report.error(
        Code.UNKNOWN_REFERENCE,
        source.span(("tune", "minimize")),
        f"`{spec.tune.minimize}` names nothing that training measures",
        help=f"did you mean `{close[0]}`?" if close else f"write one of: {', '.join(every)}",
    )


def _no_target(name: str, spec: Spec, path: tuple[str, ...], source: Source, report: Report) -> None:
    close = difflib.get_close_matches(name, spec.targets, n=1)
    report.error(
        Code.UNKNOWN_REFERENCE,
        source.span(path, key=True),
        f"there is no target `{name}`",
        help=f"did you mean `{close[0]}`?" if close else f"targets: {', '.join(spec.targets)}",
    )
