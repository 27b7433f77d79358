"""Diagnostics: the closed table of codes, and how they are shown."""

import io
import json

import pytest
from equic.compiler.language.codes import Code, explain, pages
from equic.compiler.language.diagnostics import MOST, Diagnostic, Position, Report, Severity, Span, SpecError
from equic.compiler.language.nodes import Node
from equic.compiler.language.overrides import apply_overrides
from equic.compiler.language.render import (
    WIDTH,
    print_report,
    render_concise,
    render_full,
    render_json,
    summary,
)
from equic.compiler.language.source import Source, merge, source_from_text
from equic.compiler.pipeline import compile_spec

from equic.data_check import codes_of_kinds


def span(line: int, start: int, end: int, file: str = "spec.yaml") -> Span:
    return Span(file, Position(line, start), Position(line, end))


def error(place: Span | None, message: str = "wrong", **more) -> Diagnostic:
    return Diagnostic(Code.GATE_COUNT, Severity.ERROR, message, place, **more)


# --- codes ---


def test_every_code_has_a_page_and_every_page_a_code():
    assert list(pages()) == list(Code)


def test_titles_are_unique_and_short():
    titles = [page.title for page in pages().values()]
    assert len(set(titles)) == len(titles)
    assert all((len(title) <= 70 and title[0] != title[0].upper()) or title[0] == "`" for title in titles)


@pytest.mark.parametrize("code", Code)
def test_pages_have_all_sections(code):
    text = explain(code)
    assert text.startswith(f"{code}: {pages()[code].title}\n")
    for section in ("What it means", "An example that triggers it", "How to mend it"):
        before, heading, after = text.partition(f"\n\n{section}\n\n")
        assert heading
        assert after.strip()
        assert before


def test_a_code_is_a_letter_of_its_stage_and_three_digits():
    stages = {"S": "0", "L": "1", "T": "2", "U": "3", "P": "4", "D": "5", "R": "6"}
    assert all(len(code) == 4 and code[1] == stages[code[0]] and code[1:].isdigit() for code in Code)


def test_explain_refuses_unknown_codes():
    with pytest.raises(ValueError, match="Z999"):
        explain("Z999")


ATOMS = """\
equic: 1
name: example
system: {kind: atoms, species: [H, C], cutoff: 4.0 Å}
targets: {energy: {per: system, rep: 0e, unit: eV}}
symmetry: {O(3): hard}
model: {architecture: mace, channels: 4}
"""
BLOCKS = ATOMS.replace("model: {architecture: mace, channels: 4}\n", "")
STATE = """\
equic: 1
name: example
targets: {derivatives: {flow_of: hamiltonian}}
constraints: {hamiltonian: {separable: false}}
"""
# codes of situations that no text alone can show: large or badly encoded files, and data on disk
ELSEWHERE = {
    Code.TOO_LARGE,
    Code.ENCODING,
    Code.NOTHING_TO_SEARCH,
}
DATA = tuple(codes_of_kinds().values())


def compile_example(code: Code, example: str) -> Report:
    """Lay the example of a page over a sound spec, and compile the result."""
    report = Report()
    if example.startswith("equic check spec.yaml --set "):
        base = source_from_text(ATOMS, report=report)
        apply_overrides(base, [example.removeprefix("equic check spec.yaml --set ")], report)
        return report
    source = source_from_text(example, report=report)
    if source is None or code.startswith("S"):
        return report
    text = STATE if "phase_space" in example else BLOCKS if "model:\n" in example else ATOMS
    if "kind: particles" in example:
        text = text.replace("{kind: atoms, species: [H, C], cutoff: 4.0 Å}", "{kind: particles}")
    base = source_from_text(text, "base.yaml", report=report)
    root = Node(merge(base.root, source.root).value, source.root.span)
    compile_spec(Source("spec.yaml", root, {**base.texts, **source.texts}), report)
    return report


@pytest.mark.parametrize("code", [code for code in Code if code not in {*ELSEWHERE, *DATA}])
def test_the_example_of_a_page_triggers_its_code(code):
    report = compile_example(code, pages()[code].example)
    assert code in [diagnostic.code for diagnostic in report.diagnostics]


@pytest.mark.parametrize("code", DATA)
def test_without_its_data_the_example_of_a_page_is_sound(code):
    compile_example(code, pages()[code].example).raise_if_errors()


@pytest.mark.parametrize(
    "text", [ATOMS, STATE + "system: {kind: phase_space, coordinates: {q: 1}}\nmodel: {architecture: hnn}\n"]
)
def test_the_specs_below_the_examples_are_sound(text):
    report = Report()
    compile_spec(source_from_text(text, report=report), report)
    report.raise_if_errors()


# --- the report ---


def test_diagnostics_are_sorted_by_place_and_counted_once():
    report = Report()
    report.error(Code.GATE_COUNT, span(3, 1, 2), "late")
    report.warning(Code.GATE_COUNT, span(1, 5, 6), "right")
    report.note(Code.GATE_COUNT, span(1, 2, 3), "left")
    report.error(Code.GATE_COUNT, span(3, 1, 2), "late")
    report.error(Code.FILE_NOT_FOUND, None, "nowhere")
    assert [d.message for d in report.diagnostics] == ["nowhere", "left", "right", "late"]
    assert summary(report) == "2 errors, 1 warning, 1 note"


def test_what_is_said_of_a_given_up_value_does_not_count():
    report = Report()
    report.error(Code.UNKNOWN_ALIAS, span(2, 3, 9), "first")
    report.give_up(span(2, 3, 9))
    report.error(Code.WRONG_TYPE, span(2, 3, 9), "follows from it")
    report.error(Code.WRONG_TYPE, span(2, 4, 5), "lies in it")
    report.error(Code.WRONG_TYPE, span(2, 3, 10), "larger")
    report.error(Code.WRONG_TYPE, span(2, 3, 9, "other.yaml"), "elsewhere")
    assert sorted(d.message for d in report.diagnostics) == ["elsewhere", "first", "larger"]


def test_warnings_do_not_stop():
    report = Report()
    report.warning(Code.TINY_SEARCH, None, "hm")
    report.raise_if_errors()
    assert not report.has_errors
    assert report.errors == ()


def test_spec_error_shows_every_error_in_full():
    report = Report(texts={"spec.yaml": "a: 1\nb: 2"})
    report.error(Code.GATE_COUNT, span(2, 4, 5), "second")
    report.error(Code.GATE_COUNT, span(1, 4, 5), "first")
    report.warning(Code.GATE_COUNT, span(1, 1, 2), "not shown")
    with pytest.raises(SpecError) as caught:
        report.raise_if_errors()
    assert str(caught.value) == (
        "error[T204]: first\n --> spec.yaml:1:4\n1 | a: 1\n  |    ^\n\n"
        "error[T204]: second\n --> spec.yaml:2:4\n2 | b: 2\n  |    ^"
    )


# --- rendering ---


def test_full_form_of_the_style_guide():
    text = "\n" * 22 + "    gates: 32x0e"
    place = Span("specs/md17.yaml", Position(23, 12), Position(23, 17))
    diagnostic = error(
        place,
        "`gates` has 32 scalars, but `gated` has 48 irreps",
        help="write `gates: 48x0e`, or remove `gates` to have it inferred",
    )
    assert render_full(diagnostic, {"specs/md17.yaml": text}) == (
        "error[T204]: `gates` has 32 scalars, but `gated` has 48 irreps\n"
        " --> specs/md17.yaml:23:12\n"
        "23 |     gates: 32x0e\n"
        "   |            ^^^^^\n"
        " = help: write `gates: 48x0e`, or remove `gates` to have it inferred"
    )


def test_labels_related_places_and_help_of_two_lines():
    diagnostic = error(span(1, 1, 2), label="here", help="one\ntwo", related=((span(2, 1, 2), "and there"),))
    assert render_full(diagnostic, {"spec.yaml": "a: 1\nb: 2"}) == (
        "error[T204]: wrong\n --> spec.yaml:1:1\n1 | a: 1\n  | ^ here\n"
        " = note: and there\n --> spec.yaml:2:1\n2 | b: 2\n  | ^\n"
        " = help: one\n         two"
    )


@pytest.mark.parametrize(
    ("line", "start", "end", "carets"),
    [
        ("Å: 5.0 Å", 4, 9, "   ^^^^^"),  # one column each
        ("名前: x", 5, 6, "      ^"),  # two columns each
        ("e\u0301: x", 5, 6, "   ^"),  # a combining accent takes none
        ("a:\tx", 4, 5, "   ^"),  # a tab is shown as one blank
        ("a:", 3, 3, "  ^"),  # nothing to underline
        ("a: b", 9, 12, "    ^"),  # behind the end of the line
    ],
)
def test_carets_stand_below_what_they_mean(line, start, end, carets):
    shown = render_full(error(span(1, start, end)), {"spec.yaml": line}).split("\n")
    assert shown[3] == "  | " + carets


def test_spans_over_several_lines_show_the_first():
    place = Span("spec.yaml", Position(1, 4), Position(3, 2))
    shown = render_full(error(place), {"spec.yaml": "a: [1,  \n 2,\n 3]"}).split("\n")
    assert shown[2:] == ["1 | a: [1,", "  |    ^^^"]


@pytest.mark.parametrize("start", [1, 40, 200, 395])
def test_long_lines_are_cut_around_the_caret(start):
    line = "".join(chr(ord("a") + column % 26) for column in range(400))
    shown = render_full(error(span(1, start, start + 4)), {"spec.yaml": line}).split("\n")
    text, carets = shown[2][4:], shown[3][4:]
    assert len(text) <= WIDTH + 2
    at = carets.index("^")
    assert text[at : at + carets.count("^")] == line[start - 1 : start + 3]


@pytest.mark.parametrize("place", [None, span(1, 1, 2, "gone.yaml"), span(99, 1, 2)])
def test_places_without_text_still_render(place):
    shown = render_full(error(place), {"spec.yaml": "a: 1"})
    assert shown == "error[T204]: wrong" + (f"\n --> {place}" if place else "")


def test_control_characters_do_not_reach_the_terminal():
    shown = render_full(error(span(1, 4, 7), "a \x1b[31mb", help="c\x07"), {"spec.yaml": "a: \u2028\u200bx"})
    assert "\x1b" not in shown
    assert shown.split("\n")[2:] == ["1 | a: \ufffd\ufffdx", "  |    ^^^", " = help: c\ufffd"]


def test_concise_form():
    assert render_concise(error(span(3, 4, 5))) == "spec.yaml:3:4: error[T204]: wrong"
    assert render_concise(error(None)) == "error[T204]: wrong"


def test_json_form_is_plain_data():
    report = Report()
    report.error(Code.GATE_COUNT, span(3, 4, 6), "wrong", help="mend", related=((span(1, 1, 2), "see"),))
    (found,) = json.loads(json.dumps(render_json(report)))
    assert found == {
        "code": "T204",
        "severity": "error",
        "message": "wrong",
        "help": "mend",
        "label": None,
        "file": "spec.yaml",
        "start": {"line": 3, "column": 4},
        "end": {"line": 3, "column": 6},
        "related": [
            {
                "message": "see",
                "file": "spec.yaml",
                "start": {"line": 1, "column": 1},
                "end": {"line": 1, "column": 2},
            }
        ],
        "fix": None,
    }


def test_printing_in_colour_says_the_same():
    from rich.console import Console

    report = Report(texts={"spec.yaml": "a: [x]"})
    report.error(Code.GATE_COUNT, span(1, 4, 7), "not [bold]markup[/bold]", help="see [1]")
    out = io.StringIO()
    print_report(report, Console(file=out, force_terminal=False, width=20))
    assert out.getvalue() == render_full(report.diagnostics[0], report.texts) + "\n\n1 error\n"


def test_more_than_the_most_are_counted_and_errors_never_give_way_to_warnings():
    report = Report()
    for k in range(MOST + 50):
        report.warning(Code.DUPLICATE_KEY, None, f"w{k}", help="h")
    for k in range(MOST + 7):
        report.error(Code.DUPLICATE_KEY, None, f"e{k}", help="h")
    assert len(report.errors) == MOST
    assert report.left_out == 57
    assert "57 more that are not shown" in summary(report)
