"""What sets must have together: every species, frames of their own, isolated atoms, something left to train on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from equic.runtime.data.split import split_rows
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan

from .findings import Checked, Finding


def species_findings(plan: Plan, sets: Sequence[Checked]) -> Iterator[Finding]:
    """Elements that the spec does not list, and listed ones that training never sees."""
    known = tuple(plan.system["species"])
    train = sets[0]
    for one in sets:
        for symbol, frame in one.facts.species.items():
            if symbol not in known:
                yield Finding(
                    "species",
                    True,
                    (*one.at, "path"),
                    f"{one.file} contains {symbol}, which is not a species of the system (frame {frame} is the first)",
                    f"add {symbol} to the species, or leave these structures out",
                    ((("system", "species"), "the species"),),
                )
            elif one is not train and train.facts.frames and symbol not in train.facts.species:
                yield Finding(
                    "unseen",
                    False,
                    (*one.at, "path"),
                    f"{one.file} contains {symbol}, which {train.file} never shows: predictions for it are random",
                    f"add structures with {symbol} to the training set",
                )
    if train.facts.frames:
        for k, symbol in enumerate(known):
            if symbol not in train.facts.species and not any(symbol in one.facts.species for one in sets[1:]):
                yield Finding(
                    "unseen",
                    False,
                    ("system", "species", k),
                    f"{train.file} has no {symbol}: what the model says of it stays random",
                    f"remove {symbol} from the species, or add structures with it",
                )


def shared_findings(plan: Plan, sets: Sequence[Checked]) -> Iterator[Finding]:
    """The same structure in two sets makes errors look smaller than they are; twice in one, too, where it is split."""
    prints = {one.name: one.facts.fingerprints() for one in sets}
    for first, second in combinations(sets, 2):
        shared = prints[first.name].keys() & prints[second.name].keys()
        if not shared:
            continue
        if first.entry["path"] == second.entry["path"]:
            yield Finding(
                "shared",
                False,
                (*second.at, "path"),
                f"`{second.name}` is the very file of `{first.name}`",
                "name another file, or draw the set: `test: 0.1`",
                (((*first.at, "path"), f"`{first.name}`"),),
            )
            continue
        a, b = min((prints[first.name][key], prints[second.name][key]) for key in shared)
        unit = "frame" if plan.kind == "atoms" else "row"
        verb = "is" if len(shared) == 1 else "are"
        noun = {"atoms": "structures", "particles": "systems"}.get(plan.kind, "states")
        yield Finding(
            "shared",
            plan.is_points and not {first.name, second.name}.isdisjoint({"train", "validation"}),
            (*second.at, "path"),
            f"{len(shared)} of the {len(prints[second.name])} {noun} of `{second.name}` {verb} also in "
            f"`{first.name}`: {second.file}:{unit} {b} is {first.file}:{unit} {a}",
            "remove them from one of the files: errors on what was seen in training say little",
            (((*first.at, "path"), f"`{first.name}`"),),
        )
    yield from _repeated(plan, sets[0], len(prints[sets[0].name]))


def _repeated(plan: Plan, train: Checked, different: int) -> Iterator[Finding]:
    assert plan.data is not None
    drawn = [name for name, entry in plan.data["sets"].items() if "path" not in entry]
    repeated = train.facts.frames - different
    if drawn and repeated > 0 and plan.is_points:
        yield Finding(
            "shared",
            False,
            (*train.at, "path"),
            f"{repeated} of the {train.facts.frames} frames of {train.file} repeat others, and "
            f"{' and '.join(f'`{name}`' for name in drawn)} {'is' if len(drawn) == 1 else 'are'} drawn from it: "
            "some will be in both",
            "remove the copies, or give the set a file of its own",
        )


def isolated_findings(plan: Plan, train: Checked) -> Iterator[Finding]:
    """`isolated_atoms: frames` needs one with an energy for every species."""
    given = None if plan.data is None else plan.data["isolated_atoms"]
    if given != "frames" or train.facts.problem is not None:
        return
    for word, lacking in (
        ("isolated atom for", [s for s in plan.system["species"] if s not in train.facts.isolated]),
        ("energy of the isolated", [s for s, energy in train.facts.isolated.items() if energy is None]),
    ):
        if lacking:
            yield Finding(
                "isolated",
                True,
                ("data", "isolated_atoms"),
                f"{train.file} has no {word} {', '.join(lacking)}",
                "add a frame of one atom with config_type=IsolatedAtom and its energy, or write "
                "`isolated_atoms: least_squares`",
                (((*train.at, "path"), "the training set"),),
            )


def split_findings(
    plan: Plan, train: Checked, places: Mapping[str, tuple[str | int, ...]]
) -> Iterator[Finding]:
    """Sets drawn from the training set must leave some of it."""
    assert plan.data is not None
    drawn = {name: entry for name, entry in plan.data["sets"].items() if "path" not in entry}
    if not drawn or not train.facts.frames:
        return
    try:
        split_rows(train.facts.frames, drawn, int(plan.data["seed"]))
    except DataError as error:
        # a set that is not written down is one that the language draws by itself
        place = next((places[name] for name in drawn if name in places), train.at)
        yield Finding("split", True, place, error.message, error.help or "take fewer")
