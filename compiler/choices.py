"""Every value that a search may try must compile: better said by `equic check` than by a trial at night."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from .language.codes import Code
from .language.diagnostics import Report
from .language.nodes import node_from, same_data
from .language.search import SearchSpace, substitute
from .language.source import Source
from .language.wording import clip
from .language.yaml_writer import write_flow

MOST = 60  # trials of the compiler; a list of hundreds of choices is checked at its beginning
MOST_OPS = 3000  # of all trials together; of a model of 100 layers only the first values are checked
LEAST = 2  # trials in any case


def check_choices(
    source: Source,
    spaces: Sequence[SearchSpace],
    report: Report,
    compile_: Callable[[Source], tuple[Report, int]],
) -> None:
    """Report every end of a range and every choice that does not compile beside the defaults of the others.

    `source` has its searches replaced by their defaults. `compile_` says how many operations a graph had, too:
    trials end where their sum passes `MOST_OPS`.
    """
    done = 0
    candidates = (
        (space, value)
        for space in spaces
        for value in space.candidates_to_check()
        if not same_data(value, space.default)
    )
    for trial, (space, value) in enumerate(islice(candidates, MOST)):
        if trial >= LEAST and done >= MOST_OPS:
            break
        tried, size = compile_(substitute(source, {space.name: value}, spaces))
        done += size
        found = tried.errors
        if not found:
            continue
        first, node = found[0], space.node(value)
        shown = clip(node.text or write_flow(node_from(value, node.span)))
        elsewhere = first.span is not None and not node.span.covers(first.span)
        related = ((first.span, "where it does not fit"),) if elsewhere and first.span is not None else ()
        report.error(
            Code.UNSOUND_CHOICE,
            node.span,
            f"the search may try `{space.path[-1]}: {shown}`, which does not compile: {first.message}",
            help=first.help or "leave this value out",
            related=related,
        )
