"""A slip of the hand in a sound spec is mended to what it was, or left alone; never made into something else."""

from __future__ import annotations

from pathlib import Path

import pytest
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.fixes import offset
from equic.compiler.language.source import source_from_text
from hypothesis import given, settings
from hypothesis import strategies as st

from equic.fixing import fix_spec

ROOT = Path(__file__).parents[2]
SPECS = sorted([*ROOT.glob("specs/*.yaml"), *ROOT.glob("examples/*/spec.yaml")])


def words(text: str):
    """Every key and plain scalar of a spec: where it stands, and whether it is a number or a truth."""
    source = source_from_text(text, report=Report())
    starts = [0]
    for line in text.split("\n")[:-1]:
        starts.append(starts[-1] + len(line) + 1)
    found = []

    def walk(node):
        if node.key is not None:
            found.append((node.key, None))
        if isinstance(node.value, dict):
            for child in node.value.values():
                walk(child)
        elif isinstance(node.value, tuple):
            for child in node.value:  # a preset's list of numbers is judged as a whole
                if not isinstance(child.value, (int, float)):
                    walk(child)
        elif node.text and not node.quoted:
            found.append((node.span, node.value))

    walk(source.root)
    return [(offset(span.start, starts), offset(span.end, starts), value) for span, value in found]


def slipped(word: str, value: object, kind: int, place: int) -> str:
    """The word with a letter lost, doubled or exchanged, in another case, or in quotes."""
    if isinstance(value, bool):
        return ("yes" if value else "no") if kind < 3 else f'"{word}"'
    if isinstance(value, (int, float)):
        return f'"{word}"'
    k = place % len(word)
    if kind == 0:
        return word[:k] + word[k + 1 :]
    if kind == 1:
        return word[:k] + word[k] + word[k:]
    if kind == 2 and k + 1 < len(word):
        return word[:k] + word[k + 1] + word[k] + word[k + 2 :]
    return word.swapcase()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(SPECS),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 4), st.integers(0, 40)), min_size=1, max_size=3),
)
def test_slips_are_mended_to_what_they_were(tmp_path_factory, path, slips):
    text = original = path.read_text(encoding="utf-8")
    there = words(text)
    chosen = {there[which % len(there)]: (kind, place) for which, kind, place in slips}
    for (start, end, value), (kind, place) in sorted(chosen.items(), key=lambda item: -item[0][0]):
        text = text[:start] + slipped(text[start:end], value, kind, place) + text[end:]
    file = tmp_path_factory.mktemp("slip") / "spec.yaml"
    file.write_text(text, encoding="utf-8")
    fixed = fix_spec(file)
    now = fixed.after.get(str(file), text)
    left = {(one.code, one.message) for one in fixed.done.report.errors}
    assert not left & {(one.code, one.message) for one in fixed.mended}
    # comments and all else stay: only the words that slipped may differ
    assert now.count("\n") == original.count("\n")
    for one, two, three in zip(now.split("\n"), text.split("\n"), original.split("\n"), strict=True):
        if two == three:
            assert one == two
    # quotes and capitals alone leave no doubt about what was meant
    if all(
        kind >= 3 or not isinstance(value, (str, type(None))) for (_, _, value), (kind, _) in chosen.items()
    ):
        errors = {str(one.code) for one in fixed.done.report.errors}
        assert not errors & {"L101", "L103"}, fixed.done.report.errors


def test_there_are_specs():
    assert len(SPECS) >= 5
    for path in SPECS:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(path.parent)
            assert fix_spec(path.name).after == {}
