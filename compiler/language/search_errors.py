"""What is wrong with the middle of a range, said of the search that was written in its place."""

import math

from .codes import Code
from .diagnostics import Report
from .fixes import Edit, Fix
from .nodes import Node
from .wording import clip, listed


def report_whole(name: str, node: Node | None, report: Report) -> bool:
    """Report the fractions in a search for a whole number; False where the value is no search, or has none.

    Only what is written as a whole number is left alone: `3.0` makes a range one of real numbers. The range that
    the help writes lies within the one that was given.
    """
    parts = _numbers(node)
    wrong = [key for key, part in parts.items() if not isinstance(part.value, int)]
    if node is None or not wrong:
        return False
    words = listed((f"{key}: {parts[key].text}" for key in wrong), "and")
    found = {key: _number(part) for key, part in parts.items()}
    low, high = sorted((found["low"], found["high"]))
    whole = {"low": math.ceil(low), "high": math.floor(high)}
    fix = None
    if whole["low"] < whole["high"]:
        within = {key: min(max(round(found[key]), whole["low"]), whole["high"]) for key in found}
        step = {"step": max(1, round(found["step"]))} if "step" in found else {}
        mended = {**within, **whole, **step}
        assert isinstance(node.search, dict)
        written = ", ".join(f"{key}: {mended.get(key, part.text)}" for key, part in node.search.items())
        help = f"write `{{search: {{{clip(written, 200)}}}}}`"
        if not any(parts[key].alias or parts[key].quoted for key in wrong):
            sure = all(isinstance(parts[key].value, float) and found[key] == mended[key] for key in wrong)
            fix = Fix(tuple(Edit(parts[key].span, str(mended[key])) for key in wrong), sure)
    elif whole["low"] == whole["high"]:
        help = f"only {whole['low']} lies between: write `{name}: {whole['low']}`, or widen the range"
    else:
        help = "no whole number lies between: write one in place of the search, or widen the range"
    report.error(
        Code.WRONG_TYPE,
        parts[wrong[0]].span,
        f"`{name}` must be a whole number, but its search has {words}",
        help=help,
        fix=fix,
    )
    return True


def report_unit(node: Node | None, unit: str, report: Report) -> bool:
    """Report a search between bare numbers where a quantity is expected; False where the value is no search."""
    parts = _numbers(node)
    if not parts:
        return False
    written = ", ".join(f"{key}: {part.text} {unit}" for key, part in parts.items())
    words = f"{listed(parts, 'and')} have no unit"
    report.error(Code.MISSING_UNIT, parts["low"].span, words, help=f"write `{clip(written, 200)}`")
    return True


def middle_help(node: Node | None) -> str | None:
    """Where a value comes from that nobody wrote; None where it was written."""
    if node is None or node.search is None:
        return None
    if "default" in node.search:
        return "this is the `default` of the search"
    return "this is the middle of the search: write other ends, or a `default`"


def _numbers(node: Node | None) -> dict[str, Node]:
    """The numbers of the search behind a value, `low` and `high` first; none where it is no search."""
    search = node.search if node is not None else None
    return {key: search[key] for key in ("low", "high", "step", "default") if key in search} if search else {}


def _number(node: Node) -> int | float:
    """The number of an end that was read before; its unit does not count."""
    value = node.value
    assert isinstance(value, (int, float, str))
    return float(value.split()[0]) if isinstance(value, str) else value
