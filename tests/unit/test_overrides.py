"""`--set path=value`, and the dotted paths it uses."""

import pytest
from equic.compiler.language.codes import Code
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.nodes import parse_path, path_text
from equic.compiler.language.overrides import apply_overrides
from equic.compiler.language.render import render_full
from equic.compiler.language.source import source_from_text

TEXT = "model: {channels: 64, blocks: [{kind: mp}, {kind: act}]}\nsymmetry: {O(3): hard}\na.b: {'0': 1}"


def change(*overrides: str):
    report = Report()
    source = source_from_text(TEXT, report=report)
    return apply_overrides(source, overrides, report), report


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("model.channels=32", ("model", "channels"), 32),
        ("model.channels=1e-3", ("model", "channels"), 1e-3),
        ("model.channels=null", ("model", "channels"), None),
        ("model.channels='32'", ("model", "channels"), "32"),
        ("model.name=a=b", ("model", "name"), "a=b"),
        ("model.blocks.1.kind=mp", ("model", "blocks", 1, "kind"), "mp"),
        ("symmetry.O(3)={relaxed: 0.1}", ("symmetry", "O(3)"), {"relaxed": 0.1}),
        ('"a.b"."0"=2', ("a.b", "0"), 2),
        ("train.loss.energy.weight=2", ("train", "loss", "energy", "weight"), 2),
        ("model.hidden=[64, 64]", ("model", "hidden"), [64, 64]),
        ("system.cutoff=5 Å", ("system", "cutoff"), "5 Å"),
    ],
)
def test_values_are_laid_over_the_spec(override, path, value):
    source, report = change(override)
    assert not report.diagnostics
    found = source.data
    for part in path:
        found = found[part]
    assert found == value
    span = source.span(path)
    assert span.file == f"<--set {override}>"
    assert source.text_of(span.file) == override
    assert span.start.column == override.index("=") + 2
    key = source.span(path, key=True)
    assert override[key.start.column - 1 : key.end.column - 1].strip('"') == path[-1]


def test_the_rest_of_the_spec_stays_where_it_is():
    source, _ = change("model.channels=32")
    assert str(source.span(("model", "blocks", 0, "kind"))) == "spec.yaml:1:39"
    assert source.text == TEXT


def test_later_overrides_win():
    source, _ = change("model.channels=1", "model.channels=2")
    assert source.data["model"]["channels"] == 2


@pytest.mark.parametrize(
    "override",
    [
        "model.channels",
        "=1",
        "model.channels=",
        "model..channels=1",
        ".model=1",
        "model.channels.deep=1",
        "model.blocks.2.kind=mp",
        "model.blocks.x=1",
        'model."open=1',
        "",
    ],
)
def test_wrong_overrides_are_reported_and_left_out(override):
    source, report = change(override, "model.channels=7")
    assert [diagnostic.code for diagnostic in report.diagnostics] == [Code.BAD_OVERRIDE]
    assert source.data["model"]["channels"] == 7
    assert f"<--set {override}>" in render_full(report.diagnostics[0], report.texts)


def test_wrong_yaml_is_shown_in_the_override():
    _, report = change("model.channels=[1")
    (diagnostic,) = report.diagnostics
    assert diagnostic.code is Code.SYNTAX
    assert render_full(diagnostic, report.texts).split("\n")[:4] == [
        "error[S001]: a `,` or the closing `]` is missing",
        " --> <--set model.channels=[1>:1:18",
        "1 | model.channels=[1",
        "  |                  ^",
    ]


@pytest.mark.parametrize("path", [(), ("a.b",), ("0",), (0, "x"), ('"',), ("",), ("a b", "=", "{", "é")])
def test_paths_read_back(path):
    if path:
        assert parse_path(path_text(path)) == path


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", '"a', '"a"b', "a b", "a=b", '"\\q"'])
def test_what_is_not_a_path(text):
    assert parse_path(text) is None
