"""Mistakes that come of a preset's parameters are shown at the parameter that the user set."""

import pytest
from equic.compiler.language.blocks import MpBlock
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.presets import fill_preset, load_preset, preset_names
from equic.compiler.language.schema_model import AtomsModel
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec

SPEC = """\
equic: 1
name: example
system: {{kind: atoms, species: [H, C], cutoff: 4.0 Å}}
symmetry: {{O(3): hard}}
targets: {{energy: {{per: system, rep: 0e, unit: eV}}}}
model: {{{model}}}
"""


def compiled(model: str) -> Report:
    report = Report()
    source = source_from_text(SPEC.format(model=model), report=report)
    compile_spec(source, report)
    return report


# the parameters -> the code, and which of them is to blame
CAUSES = {
    "architecture: mace, hidden_lmax: 5, lmax: 1, layers: 2": ("T211", "hidden_lmax: "),
    "architecture: mace, layers: 2, channels: 4, hidden_lmax: 6, lmax: 1": ("T211", "hidden_lmax: "),
    "architecture: mace, lmax: 0, channels: 4": ("T211", "lmax: "),
    "architecture: mace, channels: 999999, lmax: 2, layers: 1": ("L116", "channels: "),
}


@pytest.mark.parametrize("model", CAUSES)
def test_the_parameter_that_the_user_set_is_shown(model):
    code, before = CAUSES[model]
    report = compiled(model)
    first = report.errors[0]
    assert str(first.code) == code, first
    line = SPEC.format(model=model).splitlines()[first.span.start.line - 1]
    assert line[: first.span.start.column - 1].endswith(before)


def test_a_block_that_does_not_validate_is_shown_at_its_parameter(monkeypatch):
    def refuse(cls, value):
        if isinstance(value, dict) and value["power"]["order"] == 2:
            raise ValueError("order 2 is refused")
        return value

    from equic.compiler.language import levels
    from pydantic import model_validator

    class Strict(MpBlock):
        refused = model_validator(mode="before")(classmethod(refuse))

    class Model(AtomsModel):
        blocks: tuple[Strict, ...]

    monkeypatch.setattr(levels, "_model_class", lambda kind: Model)
    text = "architecture: mace, correlation: 2, layers: 1"
    (found,) = compiled(text).errors
    assert "these parameters of `mace` do not fit: order 2 is refused" in found.message
    line = SPEC.format(model=text).splitlines()[5]
    # several parameters flow into the block, but only one of its own keys was set besides the copies
    assert line[found.span.start.column - 1 :].startswith(("2, layers", "mace"))


def test_defaults_are_shown_at_the_architecture():
    report = Report()
    source = source_from_text(SPEC.format(model="architecture: mace"), report=report)
    filled = fill_preset(load_preset("mace"), {}, frozenset(), source, report)
    anchor = source.span(("model", "architecture"))

    def walk(node):
        yield node.span
        parts = node.value.values() if isinstance(node.value, dict) else node.value
        for part in parts if isinstance(node.value, (dict, tuple)) else ():
            yield from walk(part)

    assert set(walk(filled)) == {anchor}


@pytest.mark.parametrize("name", preset_names())
def test_every_value_stands_at_a_parameter_or_the_architecture(name):
    preset = load_preset(name)
    given = {
        key: list(one.default) if isinstance(one.default, tuple) else one.default
        for key, one in preset.parameters.items()
    }
    text = (
        "model: {architecture: "
        + name
        + "".join(f", {key}: {_yaml(value)}" for key, value in given.items())
        + "}"
    )
    source = source_from_text(text, report=Report())
    filled = fill_preset(preset, given, frozenset({"joint"}), source, Report())
    known = {source.span(("model", key)) for key in ("architecture", *given)}

    def walk(node):
        assert node.span in known
        parts = node.value.values() if isinstance(node.value, dict) else node.value
        for part in parts if isinstance(node.value, (dict, tuple)) else ():
            walk(part)

    walk(filled)


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
