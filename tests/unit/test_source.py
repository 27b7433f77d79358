"""Reading specs: YAML 1.2 values, spans, limits, base files."""

import math
import time

import pytest
import yaml
from equic.compiler.language import yaml_loader
from equic.compiler.language.codes import Code
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.render import render_full
from equic.compiler.language.scalars import write_scalar
from equic.compiler.language.source import load_source, source_from_text


def read(text: str):
    report = Report()
    source = source_from_text(text, report=report)
    return source, report


def data(text: str):
    source, report = read(text)
    assert not report.diagnostics
    return source.data


def codes(report: Report) -> list[Code]:
    return [diagnostic.code for diagnostic in report.diagnostics]


def text_at(source, path, *, key=False) -> str:
    """What a span of one line covers."""
    span = source.span(path, key=key)
    assert span.start.line == span.end.line
    return source.text.splitlines()[span.start.line - 1][span.start.column - 1 : span.end.column - 1]


# --- values ---


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0", 0),
        ("+12", 12),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("", None),
        # all of these are something else in YAML 1.1
        ("yes", "yes"),
        ("NO", "NO"),
        ("on", "on"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("0b11", "0b11"),
        ("=", "="),
        # and these are ours
        ("0e", "0e"),
        ("16x0e+8x1o", "16x0e+8x1o"),
        ("5.0 Å", "5.0 Å"),
        ("'1'", "1"),
        ('"\\u00e5"', "å"),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("!!float 1", 1.0),
        ("!!int '7'", 7),
        ("!!map {a: 1}", {"a": 1}),
    ],
)
def test_values_are_those_of_yaml_1_2(text, value):
    found = data(f"x: {text}")["x"]
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_number():
    assert math.isnan(data("x: .NaN")["x"])


def test_the_text_of_scalars_is_kept():
    source, _ = read("a: 1e0\nb: '0x1'\nc: [~]\nd: {}")
    assert source.scalar_text(("a",)) == "1e0"
    assert source.scalar_text(("b",)) == "0x1"
    assert source.scalar_text(("c", 0)) == "~"
    assert source.scalar_text(("d",)) is None
    assert source.scalar_text(("nowhere", 3)) is None


def test_aliases_copy_their_value():
    source, report = read("a: &x {b: 1}\nc: *x\nd: [*x, *x]")
    assert not report.diagnostics
    assert source.data == {"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}, {"b": 1}]}
    source.data["c"]["b"] = 2
    assert source.data["a"] == {"b": 1}


def test_an_anchor_may_be_given_again():
    assert data("a: &x 1\nb: *x\nc: &x 2\nd: *x") == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_byte_order_mark_and_line_ends():
    assert data("\ufeffa: 1\r\nb: |\r\n  x\r\n  y\r\n\r\n# end\r\n") == {"a": 1, "b": "x\ny\n"}


# --- spans ---

TEXT = """\
name: "acac"   # a comment
system:
  kind: atoms
  species: [H, C]

  cutoff: 5.0 Å
note: |
  two
  lines

# end
last: {a: {b: 1}}
"""


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (("name",), '"acac"', "name"),
        (("system", "kind"), "atoms", "kind"),
        (("system", "species"), "[H, C]", "species"),
        (("system", "species", 1), "C", "C"),
        (("system", "cutoff"), "5.0 Å", "cutoff"),
        (("last", "a", "b"), "1", "b"),
        (("last", "a"), "{b: 1}", "a"),
        (("last", "a", "nothing", "below"), "{b: 1}", "a"),  # nearest ancestor
        (("last", 7), "{a: {b: 1}}", "last"),
    ],
)
def test_spans_of_values_and_keys(path, value, key):
    source, _ = read(TEXT)
    assert text_at(source, path) == value
    assert text_at(source, path, key=True) == key


def test_spans_of_blocks_end_with_their_last_value():
    source, _ = read(TEXT)
    system, note = source.span(("system",)), source.span(("note",))
    assert (str(system), system.end.line, system.end.column) == ("spec.yaml:3:3", 6, 16)
    assert (str(note), note.end.line, note.end.column) == ("spec.yaml:7:7", 9, 8)


def test_columns_count_characters():
    source, _ = read("{Å𝄞: é, x: 名}")
    assert text_at(source, ("x",)) == "名"
    assert source.span(("x",)).start.column == 12


def test_aliases_point_to_themselves_and_their_content_to_the_anchor():
    source, _ = read("a: &x {b: 1}\nc: *x")
    assert text_at(source, ("c",)) == "*x"
    assert text_at(source, ("c",), key=True) == "c"
    assert str(source.span(("c", "b"))) == "spec.yaml:1:11"


# --- mistakes ---

REFUSED = [
    ("a: [1", Code.SYNTAX),
    ("a: b: c", Code.SYNTAX),
    ("a: 'x", Code.SYNTAX),
    ("a: {b: 1", Code.SYNTAX),
    ("a: @x", Code.SYNTAX),
    ("a: `x", Code.SYNTAX),
    ("- a\nb: 1", Code.SYNTAX),
    ("a:\n  b: 1\n c: 2", Code.SYNTAX),
    ('a: "\\q"', Code.SYNTAX),
    ('a: "\\ud800"', Code.SYNTAX),
    ("a: *", Code.SYNTAX),
    ("a: !<x", Code.SYNTAX),
    ("%YAML 3.0\n---\na: 1", Code.SYNTAX),
    ("%FOO\n%YAML 1.1\n%YAML 1.1\n---\na: 1", Code.SYNTAX),
    ("a: ]", Code.SYNTAX),
    ("a: |x\n b", Code.SYNTAX),
    ("a\nb: 1", Code.SYNTAX),
    ("a:\n\tb: 1", Code.TAB),
    ("a:\n  b: 1\n\tc: 2", Code.TAB),
    ("a: &x [*x]", Code.RECURSIVE_ALIAS),
    ("a: \x07", Code.CONTROL_CHARACTER),
    ("a: \ufeff", Code.CONTROL_CHARACTER),
    ("a: \u2028", Code.CONTROL_CHARACTER),
    ("a: \ud800", Code.CONTROL_CHARACTER),
    ("", Code.EMPTY_FILE),
    ("# only a comment\n", Code.EMPTY_FILE),
    ("---\n...\n", Code.EMPTY_FILE),
    ("[1, 2]", Code.NOT_A_MAPPING),
    ("just text", Code.NOT_A_MAPPING),
    ("null", Code.NOT_A_MAPPING),
    ("a: " + "[" * 100, Code.TOO_DEEP),
    ("a: " + "{b: " * 100_000, Code.TOO_DEEP),
    ("a: " + "- " * 1000, Code.SYNTAX),
    ("a: [" + "1," * 100_001 + "]", Code.TOO_MANY_VALUES),
    ("a: '" + "x" * 1_000_000 + "'", Code.TOO_LARGE),
]


@pytest.mark.parametrize(("text", "code"), REFUSED, ids=range(len(REFUSED)))
def test_unreadable_texts_are_one_diagnostic(text, code):
    source, report = read(text)
    assert source is None
    assert codes(report) == [code]
    for diagnostic in report.diagnostics:
        assert render_full(diagnostic, report.texts)


@pytest.mark.parametrize(
    ("text", "code", "value"),
    [
        ("a: 1\na: 2", Code.DUPLICATE_KEY, {"a": 1}),
        ("a: {b: 1, 'b': 2}", Code.DUPLICATE_KEY, {"a": {"b": 1}}),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", Code.MERGE_KEY, {"a": {"b": 1}, "c": {"d": 2}}),
        ("1: a", Code.KEY_NOT_TEXT, {"1": "a"}),
        ("~: a", Code.KEY_NOT_TEXT, {"~": "a"}),
        ("[a]: b\nc: 1", Code.KEY_NOT_TEXT, {"c": 1}),
        ("a: &k x\n*k : 1\nc: 1", Code.KEY_NOT_TEXT, {"a": "x", "c": 1}),
        ("a: !!python/object:os.system {b: 1}", Code.TAG, {"a": {"b": 1}}),
        ("a: !mine x", Code.TAG, {"a": "x"}),
        ("a: !!int x", Code.TAG, {"a": "x"}),
        ("a: !!map [1]", Code.TAG, {"a": [1]}),
        ("a: !!set {b}", Code.TAG, {"a": {"b": None}}),
        ("a: *nothing", Code.UNKNOWN_ALIAS, {"a": None}),
        ("a: 1\n---\nb: 1", Code.SEVERAL_DOCUMENTS, {"a": 1}),
        ("a: 1e999", Code.NUMBER_TOO_LARGE, {"a": 0}),
        ("a: " + "9" * 5000, Code.NUMBER_TOO_LARGE, {"a": 0}),
    ],
)
def test_mistakes_that_leave_the_rest_readable(text, code, value):
    source, report = read(text)
    assert codes(report) == [code]
    assert source.data == value


def test_several_mistakes_are_reported_together():
    _, report = read("a: 1\na: 2\n<<: {}\n3: 4")
    assert codes(report) == [Code.DUPLICATE_KEY, Code.MERGE_KEY, Code.KEY_NOT_TEXT]


def test_a_duplicate_key_shows_both_places():
    _, report = read("a: 1\nb: 2\na: 3")
    (diagnostic,) = report.diagnostics
    assert str(diagnostic.span) == "spec.yaml:3:1"
    assert [str(span) for span, _ in diagnostic.related] == ["spec.yaml:1:1"]


def test_an_alias_bomb_stops_early():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 60)]
    start = time.perf_counter()
    source, report = read("\n".join(lines))
    assert source is None
    assert codes(report) == [Code.TOO_MANY_VALUES]
    assert time.perf_counter() - start < 1


def test_depth_counts_through_aliases():
    lines = ["a0: &a0 []"] + [f"a{k}: &a{k} [*a{k - 1}]" for k in range(1, 80)]
    source, report = read("\n".join(lines))
    assert source is None
    assert codes(report) == [Code.TOO_DEEP]


SHORT = [item for item in REFUSED if len(item[0]) < 10_000]  # the parser in plain Python is slow


@pytest.mark.parametrize(("text", "code"), SHORT, ids=range(len(SHORT)))
def test_without_libyaml_the_same_is_refused(text, code, monkeypatch):
    _, report = read(text)
    monkeypatch.setattr(yaml_loader, "_Parser", yaml.SafeLoader)
    _, again = read(text)
    assert codes(again) == [code]
    assert [d.message for d in again.diagnostics] == [d.message for d in report.diagnostics]


def test_without_libyaml_spans_are_the_same(monkeypatch):
    source, _ = read(TEXT)
    monkeypatch.setattr(yaml_loader, "_Parser", yaml.SafeLoader)
    again, _ = read(TEXT)
    assert again == source


# --- files ---


def test_a_missing_file_suggests_a_near_one(tmp_path):
    (tmp_path / "spec.yaml").write_text("a: 1")
    report = Report()
    assert load_source(tmp_path / "spce.yaml", report) is None
    (diagnostic,) = report.diagnostics
    assert diagnostic.code is Code.FILE_NOT_FOUND
    assert diagnostic.help == f"did you mean `{tmp_path / 'spec.yaml'}`?"


def test_a_folder_is_not_a_spec(tmp_path):
    report = Report()
    assert load_source(tmp_path, report) is None
    assert codes(report) == [Code.FILE_NOT_READABLE]


def test_other_encodings_are_refused_at_their_first_byte(tmp_path):
    (tmp_path / "spec.yaml").write_bytes("a: 1\nb: 5 Å".encode("latin-1"))
    report = Report()
    assert load_source(tmp_path / "spec.yaml", report) is None
    assert codes(report) == [Code.ENCODING]
    assert str(report.diagnostics[0].span).endswith("spec.yaml:2:6")


def test_extends_merges_mappings_and_replaces_the_rest(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.yaml").write_text("a: {x: 1, y: [1, 2]}\nb: 1\nc: {z: 1}")
    (tmp_path / "mid.yaml").write_text("extends: sub/base.yaml\nb: 2")
    (tmp_path / "spec.yaml").write_text("extends: mid.yaml\na: {y: [3]}\nc: ~\nd: 4")
    report = Report()
    source = load_source(tmp_path / "spec.yaml", report)
    assert not report.diagnostics
    assert source.data == {"a": {"x": 1, "y": [3]}, "b": 2, "c": None, "d": 4}
    assert source.span(("a", "x")).file == str(tmp_path / "sub" / "base.yaml")
    assert source.span(("b",)).file == str(tmp_path / "mid.yaml")
    assert source.span(("a", "y", 0)).file == source.path
    assert source.text_of(str(tmp_path / "mid.yaml")) == "extends: sub/base.yaml\nb: 2"
    assert source.text == (tmp_path / "spec.yaml").read_text()


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("spec.yaml", Code.EXTENDS_CYCLE),
        ("back.yaml", Code.EXTENDS_CYCLE),
        ("none.yaml", Code.FILE_NOT_FOUND),
        ("broken.yaml", Code.SYNTAX),
        ("[a, b]", Code.BAD_EXTENDS),
        ("''", Code.BAD_EXTENDS),
        (".", Code.FILE_NOT_READABLE),
    ],
)
def test_extends_that_lead_nowhere(value, code, tmp_path):
    (tmp_path / "spec.yaml").write_text(f"a: 1\nextends: {value}")
    (tmp_path / "back.yaml").write_text("extends: spec.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    report = Report()
    assert load_source(tmp_path / "spec.yaml", report) is None
    assert codes(report) == [code]


def test_text_in_memory_extends_files_of_a_folder(tmp_path):
    (tmp_path / "base.yaml").write_text("a: 1")
    source = source_from_text("extends: base.yaml", report=Report(), directory=tmp_path)
    assert source.data == {"a": 1}


# --- writing, speed ---


@pytest.mark.parametrize(
    "value",
    ["", "~", "1", "1e5", "true", "no", "- a", "---", "...", "a: b", "a #b", "*x", "\x07\U0001f600", "a,b"],
)
def test_texts_are_written_so_that_they_stay_texts(value):
    assert data(f"x: {write_scalar(value)}") == {"x": value}
    assert data(f"x: [{write_scalar(value)}, 1]") == {"x": [value, 1]}


def test_reading_200_lines_is_quick():
    lines = [f"section{k}:\n  lr: 1e-3\n  irreps: 16x0e+8x1o\n  hidden: [64, 64]" for k in range(50)]
    text = "\n".join(lines)
    read(text)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        read(text)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02  # about 4 ms on a quiet machine
