"""Search spaces: found, checked, replaced by defaults, and written back into the text."""

import pytest
from equic.compiler.language.codes import Code
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.overrides import apply_overrides
from equic.compiler.language.search import SearchSpace, extract_search, substitute
from equic.compiler.language.search_text import write_choices
from equic.compiler.language.source import load_source, source_from_text


def extract(text: str):
    report = Report()
    source = source_from_text(text, report=report)
    fixed, spaces = extract_search(source, report)
    return source, fixed, spaces, report


def one(search: str) -> SearchSpace:
    _, _, spaces, report = extract(f"a: {{search: {search}}}")
    assert not report.has_errors
    return spaces[0]


@pytest.mark.parametrize(
    ("search", "kind", "low", "high", "default"),
    [
        ("{low: 16, high: 64}", "int", 16, 64, 40),
        ("{low: 16, high: 64, log: true}", "int", 16, 64, 32),
        ("{low: 16, high: 64, step: 16}", "int", 16, 64, 48),
        ("{low: 16, high: 64, step: 0.5}", "float", 16.0, 64.0, 40.0),
        ("{low: -3, high: 4}", "int", -3, 4, 0),
        ("{low: 1e-4, high: 1, log: true}", "float", 1e-4, 1.0, 0.01),
        ("{low: 0.0, high: 1}", "float", 0.0, 1.0, 0.5),
        ("{low: 0.0, high: 1, step: 0.3}", "float", 0.0, 1.0, 0.6),
        ("{low: 1e-300, high: 1e300, log: true}", "float", 1e-300, 1e300, 1.0),
        ("{low: -1e308, high: 1e308}", "float", -1e308, 1e308, 0.0),
        ("{low: 1, high: 9, default: 2}", "int", 1, 9, 2),
        ("{low: 1.0, high: 9, default: 2}", "float", 1.0, 9.0, 2.0),
    ],
)
def test_ranges(search, kind, low, high, default):
    space = one(search)
    assert (space.kind, space.low, space.high) == (kind, low, high)
    assert space.default == pytest.approx(default)
    assert type(space.default) is type(low)
    assert space.candidates_to_check() == (low, high)
    assert space.labels == ()


def test_choices():
    space = one("[hard, {relaxed: 1e-1}, 3, null]")
    assert (space.kind, space.default) == ("choice", "hard")
    assert space.candidates_to_check() == ("hard", {"relaxed": 0.1}, 3, None)
    assert space.labels == ("hard", "{relaxed: 1e-1}", "3", "null")
    assert one("{choices: [1, 2], default: 2}").default == 2


def test_quantities_keep_their_unit():
    source, fixed, (space,), report = extract("cutoff: {search: {low: 4.0 Å, high: 6 Å}}")
    assert not report.diagnostics
    assert (space.kind, space.low, space.high, space.unit) == ("float", 4.0, 6.0, "Å")
    assert fixed.data == {"cutoff": "5.0 Å"}
    assert substitute(fixed, {"cutoff": 4.5}, (space,)).data == {"cutoff": "4.5 Å"}
    assert write_choices(source.text, source, (space,), {"cutoff": 4.25}) == "cutoff: 4.25 Å"


def test_searches_are_found_everywhere_in_order():
    text = "b: [1, {search: [x, y]}]\nsymmetry: {SO(3): {relaxed: {search: {low: 0.0, high: 1}}}}\na: {search: [1, 2]}"
    _, fixed, spaces, _ = extract(text)
    assert [space.name for space in spaces] == ["b.1", "symmetry.SO(3).relaxed", "a"]
    assert fixed.data == {"b": [1, "x"], "symmetry": {"SO(3)": {"relaxed": 0.5}}, "a": 1}


def test_the_text_of_a_choice_is_kept():
    _, fixed, _, _ = extract("rep: {search: [1e0, 0e]}")
    assert fixed.scalar_text(("rep",)) == "1e0"


def test_spans_of_values_point_to_their_choice():
    _, fixed, spaces, _ = extract("a: {search: [x, {b: y}]}")
    assert str(fixed.span(("a",))) == "spec.yaml:1:14"
    assert str(fixed.span(("a",), key=True)) == "spec.yaml:1:1"
    other = substitute(fixed, {"a": {"b": "y"}}, spaces)
    assert str(other.span(("a", "b"))) == "spec.yaml:1:21"
    assert str(spaces[0].span) == "spec.yaml:1:4"


def test_substitute_needs_no_spaces_but_existing_paths():
    source, *_ = extract("a: {b: [1, 2]}")
    assert substitute(source, {"a.b.1": 5}).data == {"a": {"b": [1, 5]}}
    with pytest.raises(KeyError):
        substitute(source, {"a.c": 5})


@pytest.mark.parametrize(
    ("search", "code"),
    [
        ("{search: []}", Code.EMPTY_SEARCH),
        ("{search: [1]}", Code.EMPTY_SEARCH),
        ("{search: {low: 2, high: 2}}", Code.EMPTY_SEARCH),
        ("{search: {low: 2, high: 1}}", Code.REVERSED_BOUNDS),
        ("{search: 3}", Code.BAD_SEARCH),
        ("{search: }", Code.BAD_SEARCH),
        ("{search: {low: 1}}", Code.BAD_SEARCH),
        ("{search: {}}", Code.BAD_SEARCH),
        ("{search: {low: a, high: 2}}", Code.BAD_SEARCH),
        ("{search: {low: true, high: 2}}", Code.BAD_SEARCH),
        ("{search: {low: 1, high: .inf}}", Code.BAD_SEARCH),
        ("{search: {low: 0, high: 3, log: true}}", Code.LOG_FROM_ZERO),
        ("{search: {low: 1, high: 3, log: yes}}", Code.BAD_SEARCH),
        ("{search: {low: 1, high: 3, log: true, step: 1}}", Code.BAD_STEP),
        ("{search: {low: 1, high: 3, step: 0}}", Code.BAD_STEP),
        ("{search: {low: 1, high: 3, step: 5}}", Code.BAD_STEP),
        ("{search: {low: 1, high: 3, default: 7}}", Code.BAD_DEFAULT),
        ("{search: {low: 1, high: 3, default: 1.5}}", Code.BAD_DEFAULT),
        ("{search: {low: 1 Å, high: 3}}", Code.BAD_SEARCH),
        ("{search: {low: 1 Å, high: 3 nm}}", Code.BAD_SEARCH),
        ("{search: {low: 1 Åå, high: 3 Å}}", Code.UNKNOWN_UNIT),
        ("{search: [1, 2, 1]}", Code.BAD_SEARCH),
        ("{search: {choices: [1, 2], default: 3}}", Code.BAD_DEFAULT),
        ("{search: {choices: [1, 2], low: 3}}", Code.BAD_SEARCH),
        ("{search: {choices: 1}}", Code.BAD_SEARCH),
        ("{search: [1, 2], other: 3}", Code.BAD_SEARCH),
        ("{search: {low: 1, high: 3, lgo: true}}", Code.UNKNOWN_KEY),
        ("{search: [1, {search: [2, 3]}]}", Code.NESTED_SEARCH),
        ("{search: [1, {b: [{search: [2, 3]}]}]}", Code.NESTED_SEARCH),
        ("{search: {low: {search: [1, 2]}, high: 3}}", Code.NESTED_SEARCH),
    ],
)
def test_mistakes(search, code):
    *_, report = extract(f"a: {search}")
    assert report.diagnostics[0].code is code
    assert all(d.help for d in report.diagnostics)


def test_a_whole_spec_cannot_be_searched():
    *_, report = extract("search: [1, 2]")
    assert [d.code for d in report.diagnostics] == [Code.BAD_SEARCH]


def test_zero_to_one_in_whole_numbers_is_a_warning():
    *_, spaces, report = extract("a: {search: {low: 0, high: 1}}")
    assert [d.code for d in report.diagnostics] == [Code.TINY_SEARCH]
    assert not report.has_errors
    assert spaces[0].kind == "int"


# --- writing ---

TEXT = """\
# a spec
model:
  channels: {search: {low: 16, high: 64}}  # how wide

  layers:   # how deep
    search: [1, 2]
  rate:
    search:
      low: 1e-4   # not lower
      high: 1.0
      log: true   # of course
symmetry: {O(3): {search: [hard, {relaxed: 1e-1}]}}
list:
  - search: ["a b", 'no: not', null]
  - 2
"""


def test_only_the_searches_are_rewritten():
    source, _, spaces, _ = extract(TEXT)
    values = {
        "model.channels": 17,
        "model.rate": 0.003,
        "symmetry.O(3)": {"relaxed": 0.1},
        "list.0": "no: not",
    }
    assert write_choices(TEXT, source, spaces, values) == (
        "# a spec\n"
        "model:\n"
        "  channels: 17  # how wide\n"
        "\n"
        "  layers:   # how deep\n"
        "    1\n"
        "  rate: 0.003   # of course\n"
        "symmetry: {O(3): {relaxed: 1e-1}}\n"
        "list:\n"
        '  - "no: not"\n'
        "  - 2\n"
    )


def test_windows_line_ends_stay():
    text = "a:\r\n  search:\r\n    - 1\r\n    - 2\r\nb: 3\r\n"
    source, _, spaces, _ = extract(text)
    assert write_choices(text, source, spaces, {"a": 2}) == "a: 2\r\nb: 3\r\n"


@pytest.mark.parametrize(
    ("text", "values", "written"),
    [
        # the anchor goes with its search; each alias is a search of its own
        ("a: &x {search: [1, 2]}\nb: *x # c", {"a": 1, "b": 2}, "a: 1\nb: 2 # c"),
        # a search below an alias is written out in place of the alias
        ("a: &x {k: {search: [1, 2]}}\nb: *x # c", {"a.k": 1, "b.k": 2}, "a: &x {k: 1}\nb: {k: 2} # c"),
        # an anchor inside a search is lost with it: everything is written out
        ("a: {search: [&x 1, 2]}\nb: *x # c", {"a": 2}, "a: 2\nb: 1\n"),
    ],
)
def test_anchors_and_aliases(text, values, written):
    source, _, spaces, _ = extract(text)
    assert write_choices(text, source, spaces, values) == written


def test_searches_of_a_base_file_are_resolved(tmp_path):
    (tmp_path / "base.yaml").write_text("a: {search: [1, 2]}\nb: 1")
    (tmp_path / "spec.yaml").write_text("extends: base.yaml\nc: {search: [3, 4]}")
    report = Report()
    source = load_source(tmp_path / "spec.yaml", report)
    _, spaces = extract_search(source, report)
    assert write_choices(source.text, source, spaces, {"a": 2}) == "a: 2\nb: 1\nc: 3\n"


def test_a_spec_that_extends_keeps_its_form_when_its_own_searches_are_chosen(tmp_path):
    (tmp_path / "base.yaml").write_text("b: 1")
    (tmp_path / "spec.yaml").write_text("extends: base.yaml\nc: {search: [3, 4]}")
    report = Report()
    source = load_source(tmp_path / "spec.yaml", report)
    _, spaces = extract_search(source, report)
    assert write_choices(source.text, source, spaces, {"c": 4}) == "extends: base.yaml\nc: 4"


def test_overrides_are_resolved_too():
    source, _, _, report = extract("a: {search: [1, 2]}\nb: 1 # kept")
    changed = apply_overrides(source, ["b=2"], report)
    _, spaces = extract_search(changed, report)
    assert write_choices(changed.text, changed, spaces, {"a": 2}) == "a: 2\nb: 2\n"
