"""Declared inputs that the data lack, or that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator

from equic.runtime.plan import Plan

from .findings import Checked, Finding, Kind

_KIND: dict[str, Kind] = {
    "missing": "input",
    "numbers": "shape",
    "shape": "shape",
    "symmetric": "shape",
    "finite": "finite",
}
_HELP = {
    "missing": "say by `key:` what the file calls it",
    "numbers": "name a key that holds numbers",
    "shape": "check `per` and `rep` of the input, or reshape the data",
    "symmetric": "give the symmetric part, or declare a general matrix: `0e+1e+2e`",
    "finite": "remove the frame, or give it a number",
}


def input_findings(plan: Plan, one: Checked) -> Iterator[Finding]:
    """Every input that some frame of this set lacks, or has in another form than declared."""
    total = one.facts.frames
    for name, troubles in one.facts.inputs.items():
        asked = f", the input `{name}`" if name not in troubles[0].message else ", an input of the system"
        for trouble in troubles:
            count = f" ({trouble.count} of {total} frames)" if plan.kind == "atoms" and total > 1 else ""
            where = f"{one.file}: " if plan.kind == "atoms" else ""
            if trouble.problem == "missing" and trouble.help is not None:
                help = f"{trouble.help}; {_HELP['missing']}"
            else:
                help = trouble.help or _HELP[trouble.problem]
            yield Finding(
                _KIND[trouble.problem],
                True,
                ("system", "inputs", name, "key"),
                f"{where}{trouble.message}{asked if trouble.problem == 'missing' else ''}{count}",
                help,
                (((*one.at, "path"), "the file"),),
            )
