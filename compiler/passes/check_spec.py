"""What the schema cannot say: keys of the spec that must agree with each other."""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterable, Sequence

from ..language.codes import Code
from ..language.diagnostics import Report
from ..language.elements import symbol_of
from ..language.foreign import GROUPS as FOREIGN_GROUPS
from ..language.foreign import our_value
from ..language.schema import GROUPS, AtomsSystem, Permutation, PhaseSpaceSystem, Relaxed, Spec, Target
from ..language.schema_data import DataSet, Drawn, Label
from ..language.schema_train import BatchSize
from ..language.source import Source
from ..language.wording import certain, clip
from ..symmetry.irreps import Irreps, IrrepsError
from ..symmetry.units import Unit
from .context import factors_of


def check_spec(spec: Spec, source: Source, report: Report) -> None:
    """Report groups that the system does not have, factors declared twice, and labels without a target."""
    _check_groups(spec, source, report)
    _check_labels(spec, source, report)
    _check_objective(spec, source, report)
    labels = spec.data.train.labels if spec.data is not None else None
    for name in spec.train.loss:
        if name not in spec.targets:
            _no_target(name, spec, ("train", "loss", name), source, report)
        elif labels and name not in labels:
            report.error(
                Code.LOSS_WITHOUT_LABEL,
                source.span(("train", "loss", name), key=True),
                f"`{name}` is weighted in the loss, but the training set has no label for it",
                help=f"add `{name}: {{key: ...}}` to the labels, or remove the weight",
                related=((source.span(("data", "train", "labels"), key=True), "the labels"),),
            )
    if isinstance(spec.train.batch, BatchSize) and isinstance(spec.system, PhaseSpaceSystem):
        report.error(
            Code.CONFLICTING_KEYS,
            source.span(("train", "batch")),
            f"a batch of {spec.system.kind} cannot be limited by atoms or edges",
            help="write a number of states, such as `batch: 100`",
        )
    if spec.train.activation_checkpointing and isinstance(spec.system, PhaseSpaceSystem):
        report.error(
            Code.CONFLICTING_KEYS,
            source.span(("train", "activation_checkpointing"), key=True),
            "what is computed again are values of edges, which a phase space has none of",
            help="remove it; `accumulate: 4` saves memory here",
        )
    if isinstance(spec.system, PhaseSpaceSystem):
        _check_momenta(spec.system, source, report)
    _check_derivatives(spec, source, report)
    if not isinstance(spec.system, PhaseSpaceSystem):
        _check_inputs(spec, source, report)
    _check_isolated_atoms(spec, source, report)
    if spec.constraints.hamiltonian is not None and not isinstance(spec.system, PhaseSpaceSystem):
        report.error(
            Code.HAMILTONIAN_OF_ATOMS,
            source.span(("constraints", "hamiltonian"), key=True),
            f"a Hamiltonian constraint needs `kind: phase_space`, but the system is {spec.system.kind}",
            help="remove it: forces declared with `gradient_of: energy` are conservative already",
        )


def _check_groups(spec: Spec, source: Source, report: Report) -> None:
    kind = spec.system.kind
    known = GROUPS[kind]
    seen: dict[str, str] = {}
    for group, mode in spec.symmetry.items():
        path = ("symmetry", group)
        if group not in known:
            implied = group in ("translation", "permutation") and kind != "phase_space"
            report.error(
                Code.IMPLIED_GROUP if implied else Code.UNKNOWN_GROUP,
                source.span(path, key=True),
                f"`{group}` is implied by {kind}, and hard" if implied else f"{kind} has no group `{group}`",
                help="remove the line" if implied else _group_help(group, known, kind),
                fix=None
                if implied
                else source.instead(path, _free(group, known, spec.symmetry, least=1.0), key=True),
            )
            continue
        for factor in factors_of(group):
            if factor in seen:
                report.error(
                    Code.FACTOR_TWICE,
                    source.span(path, key=True),
                    f"`{group}` and `{seen[factor]}` both hold {factor}",
                    help="declare O(3), or SO(3) and inversion",
                    related=((source.span(("symmetry", seen[factor]), key=True), "first declared here"),),
                )
            seen[factor] = group
        if kind == "phase_space" and isinstance(mode, Relaxed) and mode.relaxed > 0:
            report.error(
                Code.MODE_NOT_OFFERED,
                source.span((*path, "relaxed"), key=True),
                "a phase space holds a symmetry `hard` or `free` in this version",
                help="write `hard` or `free`",
            )
    if kind == "phase_space" and "SO(2)" in spec.symmetry:
        _check_planar(spec, source, report)
    if kind == "phase_space":
        _check_swap(spec, source, report)


def _group_help(group: str, known: Sequence[str], kind: str) -> str:
    ours, remark = FOREIGN_GROUPS.get(group, ("", ""))
    if ours in known:
        return f"write `{ours}`" + (f": {remark}" if remark else "")
    close = difflib.get_close_matches(group, known, n=1, cutoff=0.5)
    return f"did you mean `{close[0]}`?" if close else f"groups of {kind}: {', '.join(known)}"


def _check_momenta(system: PhaseSpaceSystem, source: Source, report: Report) -> None:
    """A coordinate `p` beside a coordinate `q` was probably meant for its momentum, which is there anyway."""
    for name in system.coordinates:
        partner = re.sub("^p", "q", name)
        if re.fullmatch(r"p[0-9]*", name) and partner in system.coordinates:
            report.warning(
                Code.MOMENTUM_DECLARED,
                source.span(("system", "coordinates", name), key=True),
                f"`{name}` is declared as a coordinate; the momentum of `{partner}` is there without it",
                help=f"remove `{name}`, or give it a name that is not that of a momentum",
                related=((source.span(("system", "coordinates", partner), key=True), "the coordinate"),),
            )


def _check_planar(spec: Spec, source: Source, report: Report) -> None:
    assert isinstance(spec.system, PhaseSpaceSystem)
    for name, rep in spec.system.coordinates.items():
        if rep.isdigit():
            report.error(
                Code.BAD_COORDINATES,
                source.span(("system", "coordinates", name)),
                f"SO(2) is declared, but `{name}: {rep}` does not say how it rotates",
                help="write irreps of SO(2): `1x1` for a vector in the plane, `1x0` for a scalar",
                related=((source.span(("symmetry", "SO(2)"), key=True), "declared here"),),
            )


def _check_swap(spec: Spec, source: Source, report: Report) -> None:
    """A permutation names coordinates that exist and are alike; no other group has a `swap`."""
    assert isinstance(spec.system, PhaseSpaceSystem)
    for group, mode in spec.symmetry.items():
        path = ("symmetry", group)
        if isinstance(mode, Permutation) is not (group == "permutation"):
            names = ", ".join(list(spec.system.coordinates)[:2])
            report.error(
                Code.BAD_SWAP,
                source.span(path),
                "`permutation` must name the coordinates that are alike"
                if group == "permutation"
                else f"`swap` belongs to `permutation`, not to `{group}`",
                help=f"write `permutation: {{swap: [{names}]}}`",
            )
    declared = spec.symmetry.get("permutation")
    if not isinstance(declared, Permutation):
        return
    first = spec.system.coordinates.get(declared.swap[0])
    for k, name in enumerate(declared.swap):
        place = source.span(("symmetry", "permutation", "swap", k))
        known = spec.system.coordinates
        if name not in known:  # no fix: the spec invents these names, and either place may hold the slip
            close = difflib.get_close_matches(name, known, n=1)
            report.error(
                Code.BAD_SWAP,
                place,
                f"there is no coordinate `{name}`",
                help=f"did you mean `{close[0]}`?" if close else f"coordinates: {', '.join(known)}",
            )
        elif name in declared.swap[:k]:
            report.error(Code.BAD_SWAP, place, f"`{name}` is named twice", help="name every coordinate once")
        elif first is not None and known[name] != first:
            report.error(
                Code.BAD_SWAP,
                place,
                f"`{declared.swap[0]}` is `{first}`, and `{name}` is `{known[name]}`: they are not alike",
                help="swap coordinates of one representation",
            )


def _check_derivatives(spec: Spec, source: Source, report: Report) -> None:
    """Gradients belong to atoms, flows to phase spaces; a force points down the energy; energies are energies."""
    atoms = not isinstance(spec.system, PhaseSpaceSystem)
    for name, target in spec.targets.items():
        key = "flow_of" if atoms else "gradient_of"
        if (target.flow_of if atoms else target.gradient_of) is not None:
            report.error(
                Code.WRONG_DERIVATIVE,
                source.span(("targets", name, key), key=True),
                f"`{name}` is the flow of a Hamiltonian, but {spec.system.kind} have gradients of an energy"
                if atoms
                else f"`{name}` is a gradient, but a phase space has the flow of a Hamiltonian",
                help="write `{gradient_of: energy, wrt: positions, scale: -1}`"
                if atoms
                else "write `derivatives: {flow_of: hamiltonian}`, which holds velocities and forces",
            )
        if name == "forces" and target.wrt == "positions" and (target.scale is None or target.scale > 0):
            report.warning(
                Code.FORCE_SIGN,
                source.span(
                    ("targets", name, "scale") if target.scale is not None else ("targets", name), key=True
                ),
                "these forces point up the energy: a force is minus its gradient",
                help="write `scale: -1`",
            )
    energy = spec.targets.get("energy")
    if atoms and energy is not None and energy.is_computed:
        _check_energy(energy, source, report)
    unit = Unit.parse(energy.unit) if energy is not None and energy.unit is not None else None
    if (
        isinstance(spec.system, AtomsSystem)
        and unit is not None
        and unit.dimension != Unit.parse("eV").dimension
    ):
        report.error(
            Code.WRONG_DIMENSION,
            source.span(("targets", "energy", "unit")),
            f"`energy` is declared in {unit}, which measures {unit.describe()}",
            help="write a unit of energy, such as `eV` or `kcal/mol`",
        )


def _check_inputs(spec: Spec, source: Source, report: Report) -> None:
    """Inputs and targets have names of their own; a derivative is by something that there is."""
    assert not isinstance(spec.system, PhaseSpaceSystem)
    inputs = spec.system.inputs
    there = ["positions", *(["strain"] if isinstance(spec.system, AtomsSystem) else []), *inputs]
    for name, target in spec.targets.items():
        if name in inputs:
            report.error(
                Code.NAME_TAKEN,
                source.span(("targets", name), key=True),
                f"`{name}` is both an input and a target",
                help=f"give one of them another name, such as `{name}_`",
                related=((source.span(("system", "inputs", name), key=True), "the input"),),
            )
        if target.wrt == "strain" and isinstance(spec.system, AtomsSystem) and spec.system.reach is None:
            report.error(
                Code.CONFLICTING_KEYS,
                source.span(("targets", name, "wrt")),
                f"`{name}` is a derivative by strain, but where all atoms see each other nothing repeats",
                help=f"remove `{name}`, or write a `cutoff` in place of `interactions: all`",
                related=((source.span(("system", "interactions"), key=True), "declared here"),),
            )
        if target.wrt is None or target.wrt in there:
            continue
        ours = our_value("wrt", target.wrt)
        close = [ours] if ours in there else difflib.get_close_matches(target.wrt, there, n=1)
        report.error(
            Code.WRONG_CHOICE,
            source.span(("targets", name, "wrt")),
            f"nothing is called `{clip(target.wrt)}` that `{name}` could be a derivative by",
            help=f"did you mean `{close[0]}`?"
            if close
            else f"write one of: {', '.join(there)}; or declare it under `inputs:` of the system",
            fix=source.instead(("targets", name, "wrt"), certain(target.wrt, there)),
        )


def _check_energy(energy: Target, source: Source, report: Report) -> None:
    """An energy is one invariant of a system."""
    if energy.per == "node":
        report.error(
            Code.TARGET_INDEX,
            source.span(("targets", "energy", "per")),
            "`energy` is declared per node, but an energy belongs to a system",
            help="write `per: system`; energies of atoms come with it, as `node_energy`",
        )
    try:
        invariant = Irreps.parse(energy.rep or "0e").simplified() == Irreps.parse("0e")
    except IrrepsError:
        return  # reported where the target is read
    if not invariant:
        report.error(
            Code.TARGET_REP,
            source.span(("targets", "energy", "rep")),
            f"`energy` is declared as `{clip(str(energy.rep))}`, but an energy is one invariant",
            help="write `rep: 0e`",
        )


def _check_isolated_atoms(spec: Spec, source: Source, report: Report) -> None:
    """Energies of isolated atoms are given for every species, and for no other."""
    if spec.data is None or not isinstance(spec.data.isolated_atoms, dict):
        return
    path = ("data", "isolated_atoms")
    if not isinstance(spec.system, AtomsSystem):
        report.error(
            Code.ISOLATED_ATOMS,
            source.span(path, key=True),
            "a phase space has no isolated atoms",
            help="remove the line",
        )
        return
    given, species = spec.data.isolated_atoms, spec.system.species
    for symbol in given:
        if symbol not in species:
            meant = symbol_of(symbol) or symbol.capitalize()
            sure = meant in species and meant not in given
            report.error(
                Code.ISOLATED_ATOMS,
                source.span((*path, symbol), key=True),
                f"`{clip(symbol)}` is not a species of the system",
                help=f"write the symbol: `{meant}`"
                if sure
                else f"remove it, or add it to the species, which are {', '.join(species)}",
                fix=source.instead((*path, symbol), meant, key=True) if sure else None,
            )
    missing = [symbol for symbol in species if symbol not in given]
    if missing and set(given) <= set(species):
        report.error(
            Code.ISOLATED_ATOMS,
            source.span(path, key=True),
            f"the isolated atoms lack {' and '.join(f'`{one}`' for one in missing)}",
            help="give an energy for every species, or write `isolated_atoms: least_squares`",
        )


_SETS = ("train", "validation", "test")


def _check_labels(spec: Spec, source: Source, report: Report) -> None:
    if spec.data is None:
        return
    if not spec.data.train.labels:
        report.error(
            Code.NO_LABELS,
            source.span(("data", "train"), key=True),
            "the training set has no labels",
            help=f"write `labels: {{{next(iter(spec.targets))}: {{key: ...}}}}` with the key in the file",
        )
    drawn = {
        name: part.group
        for name, part in (("validation", spec.data.validation), ("test", spec.data.test))
        if isinstance(part, Drawn)
    }
    if drawn and not isinstance(spec.system, AtomsSystem):
        report.error(
            Code.CONFLICTING_KEYS,
            source.span(("data", next(iter(drawn)), "group")),
            f"a set of {spec.system.kind} is drawn state by state, not by groups",
            help="write a fraction or a number of states, or give the set a file of its own",
        )
    elif len(set(drawn.values())) > 1:
        report.error(
            Code.CONFLICTING_KEYS,
            source.span(("data", "test", "group")),
            f"one set is drawn by `{drawn['validation']}`, the other by `{drawn['test']}`",
            help="write the same key for both: groups of one may tear those of the other apart",
        )
    for name in spec.data.others:
        if name in _SETS:
            report.error(
                Code.SET_NAME,
                source.span(("data", "others", name), key=True),
                f"a further set cannot be called `{name}`",
                help=f"give it another name, or write it as `data: {{{name}: ...}}`",
            )
    sets = {"train": spec.data.train, "validation": spec.data.validation, "test": spec.data.test}
    for set_name, part in {**sets, **spec.data.others}.items():
        if not isinstance(part, DataSet) or part.labels is None:
            continue
        base = ("data", *(("others",) if set_name in spec.data.others else ()), set_name, "labels")
        for name, label in part.labels.items():
            if name not in spec.targets:
                _no_target(name, spec, (*base, name), source, report, Code.UNKNOWN_LABEL)
                continue
            declared = spec.targets[name].unit
            if label.virial:
                _check_virial(spec, name, label, (*base, name), source, report)
            elif (
                label.unit and declared and Unit.parse(label.unit).dimension != Unit.parse(declared).dimension
            ):
                report.error(
                    Code.LABEL_UNIT,
                    source.span((*base, name, "unit")),
                    f"the label of `{name}` is in {label.unit}, but the target is in {declared}",
                    help="use units of one dimension; the label is converted",
                    related=((source.span(("targets", name, "unit")), "the target's unit"),),
                )


def _check_virial(
    spec: Spec, name: str, label: Label, path: tuple[str, ...], source: Source, report: Report
) -> None:
    """A virial stands for a stress, and has the unit of an energy."""
    if spec.targets[name].wrt != "strain":
        report.error(
            Code.CONFLICTING_KEYS,
            source.span((*path, "virial")),
            f"`{name}` is no stress, and cannot be read from a virial",
            help="remove `virial: true`",
        )
    elif label.unit and Unit.parse(label.unit).dimension != Unit.parse("eV").dimension:
        report.error(
            Code.LABEL_UNIT,
            source.span((*path, "unit")),
            f"a virial is an energy, and the label of `{name}` is in {label.unit}",
            help="write `unit: eV`, or remove `virial: true` if this is a stress",
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
        Code.UNKNOWN_OBJECTIVE,
        source.span(("tune", "minimize")),
        f"`{spec.tune.minimize}` names nothing that training measures",
        help=f"did you mean `{close[0]}`?" if close else f"write one of: {', '.join(every)}",
        fix=source.instead(("tune", "minimize"), certain(spec.tune.minimize, every)),
    )


_USUAL = ("energy", "forces", "stress", "derivatives")


def _no_target(
    name: str,
    spec: Spec,
    path: tuple[str, ...],
    source: Source,
    report: Report,
    code: Code = Code.UNKNOWN_REFERENCE,
) -> None:
    close = difflib.get_close_matches(name, spec.targets, n=1)
    report.error(
        code,
        source.span(path, key=True),
        f"there is no target `{name}`",
        help=f"did you mean `{close[0]}`?" if close else f"targets: {', '.join(spec.targets)}",
        # of a name that the spec made up, nobody knows which of the two is the slip
        fix=source.instead(path, certain(name, [one for one in spec.targets if one in _USUAL]), key=True),
    )


def _free(word: str, known: Iterable[str], taken: Container[str], *, least: float = 0.8) -> str | None:
    """The known word that was meant beyond doubt and does not stand there yet."""
    return certain(word, [one for one in known if one not in taken], least=least)
