"""Pydantic's errors as diagnostics: place, code, message and help."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from equic.compiler.language.codes import Code
from equic.compiler.language.diagnostics import Diagnostic, Report, SpecValueError
from equic.compiler.language.source import source_from_text
from equic.compiler.language.validation import diagnose
from equic.compiler.symmetry.units import Unit, conversion_factor
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)


class Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Gate(Block):
    kind: Literal["gate"]
    gates: int
    gate: str = ""  # the name of the tag is also a key


class Linear(Block):
    kind: Literal["linear"]
    out: str = Field(description="irreps")


class Relaxed(Block):
    relaxed: Annotated[float, Field(ge=0, le=1)]


def _mode(value: Any) -> str | None:
    return "@relaxed" if isinstance(value, dict) else "@name" if isinstance(value, str) else None


Mode = Annotated[
    Annotated[Literal["hard", "free"], Tag("@name")] | Annotated[Relaxed, Tag("@relaxed")],
    Discriminator(_mode),
]
Layer = Annotated[Gate | Linear, Field(discriminator="kind")]


class Train(Block):
    epochs: Annotated[int, Field(gt=0)] = 1
    rate: float = 0.1
    shuffle: bool = True
    name: str = ""
    hidden: tuple[int, ...] = ()
    pair: tuple[int, str] = (1, "")
    widths: int | list[int] = 1
    when: Literal["never", "always"] | float | Relaxed = "never"
    few: Annotated[list[int], Field(min_length=1, max_length=2)] = [1]
    many: Literal["a", "b", "c", "d", "e", "f", "gamma"] = "a"
    from_: str = Field("", alias="from")
    unit: str = "eV"
    force: str = "eV/Å"
    finite: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    word: Annotated[str, Field(pattern="^[a-z]+$")] = "x"

    @field_validator("unit")
    @classmethod
    def _unit(cls, unit: str) -> str:
        return str(Unit.parse(unit))

    @field_validator("force")
    @classmethod
    def _force(cls, unit: str) -> str:
        conversion_factor(Unit.parse(unit), Unit.parse("eV/Å"))
        return unit


class Root(Block):
    equic: Literal[1] = 1
    layers: list[Layer] = []
    symmetry: dict[str, Mode] = {}
    train: Train = Train()
    first: Layer | None = None
    nested: dict[str, dict[str, Train]] = {}
    keyed: dict[Annotated[str, Field(pattern="^[A-Z]")], int] = {}

    @model_validator(mode="after")
    def _rules(self) -> Root:
        if self.train.epochs == 13:
            raise SpecValueError("thirteen epochs bring bad luck", help="choose 12 or 14")
        if self.train.epochs == 14:
            raise SpecValueError("really thirteen", help="no", code=Code.BAD_IRREPS, at=("train", "epochs"))
        return self


def found(text: str, **more) -> tuple[Diagnostic, ...]:
    report = Report()
    source = source_from_text(text, report=report)
    with pytest.raises(ValidationError) as caught:
        Root.model_validate(source.data)
    diagnose(caught.value, source, report, model=Root, **more)
    return report.diagnostics


def one(text: str) -> tuple[str, str, str, str | None]:
    (diagnostic,) = found(text)
    span = diagnostic.span
    shown = text.splitlines()[span.start.line - 1]
    marked = shown[span.start.column - 1 : span.end.column - 1 if span.end.line == span.start.line else None]
    return str(diagnostic.code), marked, diagnostic.message, diagnostic.help


CASES = {
    "unknown key": (
        "train: {epoch: 3}",
        "L101",
        "epoch",
        "`train` has no key `epoch`",
        "did you mean `epochs`?",
    ),
    "unknown key, nothing near": (
        "first: {kind: linear, out: x, zzz: 1}",
        "L101",
        "zzz",
        "`first` has no key `zzz`",
        "its keys are `kind` and `out`",
    ),
    "a key of another block": (
        "rate: 3",
        "L101",
        "rate",
        "the spec has no key `rate`",
        "it belongs under `train`",
    ),
    "a misspelt required key is one error": (
        "symmetry: {O(3): {relax: 0.1}}",
        "L101",
        "relax",
        "`O(3)` has no key `relax`",
        "did you mean `relaxed`?",
    ),
    "missing key, at the kind": (
        "layers:\n  - kind: gate",
        "L102",
        "kind: gate",
        "item 1 of `layers` needs the key `gates`",
        "add `gates:`",
    ),
    "missing key, described": (
        "first: {kind: linear}",
        "L102",
        "kind: linear",
        "`first` needs the key `out`",
        "add `out:`, irreps",
    ),
    "missing key, no kind": (
        "symmetry: {O(3): {}}",
        "L102",
        "O(3)",
        "`O(3)` needs the key `relaxed`",
        "add `relaxed:`",
    ),
    "missing kind": (
        "layers: [{gates: 3}]",
        "L102",
        "{gates: 3}",
        "item 1 of `layers` needs the key `kind`",
        "add `kind:`, which is `gate` or `linear`",
    ),
    "a key named as its tag": (
        "layers: [{kind: gate, gate: a, gates: x}]",
        "L103",
        "x",
        "`gates` must be a whole number, not the text `x`",
        None,
    ),
    "unknown kind": (
        "layers: [{kind: gates}]",
        "L105",
        "gates",
        "`kind` must be `gate` or `linear`, not `gates`",
        "did you mean `gate`?",
    ),
    "a kind of no use": (
        "layers: [{kind: [a]}]",
        "L105",
        "[a]",
        "`kind` must be `gate` or `linear`, not a list",
        "write `gate` or `linear`",
    ),
    "not a block": (
        "layers: [gate]",
        "L103",
        "gate",
        "item 1 of `layers` must be a mapping, not the text `gate`",
        "its keys are `kind`, `gates`, `gate` and `out`",
    ),
    "whole number": (
        "train: {epochs: 1.5}",
        "L103",
        "1.5",
        "`epochs` must be a whole number, not the number `1.5`",
        None,
    ),
    "number with a unit": (
        "train: {rate: 5 eV}",
        "L103",
        "5 eV",
        "`rate` must be a number, not the text `5 eV`",
        "write the number alone: `5`",
    ),
    "number with separators": (
        "train: {rate: '1,000'}",
        "L103",
        "'1,000'",
        "`rate` must be a number, not the text `1,000`",
        "write the number alone: `1000`",
    ),
    "truth": (
        "train: {shuffle: maybe}",
        "L103",
        "maybe",
        "`shuffle` must be `true` or `false`, not the text `maybe`",
        None,
    ),
    "text": (
        "train: {name: 1e0}",
        "L103",
        "1e0",
        "`name` must be a text, not the number `1e0`",
        "put it in quotes",
    ),
    "list": (
        "train: {hidden: 64}",
        "L103",
        "64",
        "`hidden` must be a list, not the number `64`",
        "write `[64]`",
    ),
    "list item": (
        "train: {hidden: [1, x]}",
        "L103",
        "x",
        "item 2 of `hidden` must be a whole number, not the text `x`",
        None,
    ),
    "pair item": (
        "train: {pair: [1, []]}",
        "L103",
        "[]",
        "item 2 of `pair` must be a text, not a list",
        None,
    ),
    "no value": (
        "train:",
        "L103",
        "",
        "`train` has no value; it must be a mapping",
        "write it after the colon, or remove the key",
    ),
    "union of types": (
        "train: {widths: {}}",
        "L103",
        "{}",
        "`widths` must be a whole number or a list, not a mapping",
        None,
    ),
    "union, the member meant": (
        "train: {widths: [a]}",
        "L103",
        "a",
        "item 1 of `widths` must be a whole number, not the text `a`",
        None,
    ),
    "union with words": (
        "train: {when: nevr}",
        "L104",
        "nevr",
        "`when` must be `never` or `always`, not `nevr`",
        "did you mean `never`?",
    ),
    "union with a block": (
        "train: {when: {relaxed: 3}}",
        "L106",
        "3",
        "`relaxed` must be at most 1, not `3`",
        None,
    ),
    "union of everything else": (
        "train: {when: []}",
        "L103",
        "[]",
        "`when` must be `never`, `always`, a number or a mapping, not a list",
        None,
    ),
    "choice": (
        "symmetry: {O(3): hrd}",
        "L104",
        "hrd",
        "`O(3)` must be `hard` or `free`, not `hrd`",
        "did you mean `hard`?",
    ),
    "choice among many": (
        "train: {many: z}",
        "L104",
        "z",
        "`many` cannot be `z`",
        "write one of `a`, `b`, `c`, `d`, `e`, `f` or `gamma`",
    ),
    "no mode": ("symmetry: {O(3): 3}", "L103", "3", "`O(3)` cannot be the number `3`", None),
    "version": ("equic: 2", "L111", "2", "`equic` must be `1`, not `2`", "write `1`"),
    "range": ("train: {epochs: 0}", "L106", "0", "`epochs` must be larger than 0, not `0`", None),
    "finite": ("train: {finite: .nan}", "L106", ".nan", "`finite` must be a finite number", None),
    "too short": ("train: {few: []}", "L114", "[]", "`few` needs at least 1 item, and has none", None),
    "too long": (
        "train: {few: [1, 2, 3]}",
        "L114",
        "[1, 2, 3]",
        "`few` needs at most 2 items, and has 3",
        None,
    ),
    "pattern": (
        "train: {word: X1}",
        "L104",
        "X1",
        "`word` cannot be the text `X1`",
        "it must match the pattern `^[a-z]+$`",
    ),
    "pattern of a key": (
        "keyed: {ab: 1}",
        "L104",
        "ab",
        "`ab` cannot be the text `ab`",
        "it must match the pattern `^[A-Z]`",
    ),
    "alias": (
        "train: {from: 3}",
        "L103",
        "3",
        "`from` must be a text, not the number `3`",
        "put it in quotes",
    ),
    "deep": (
        "nested: {a: {b: {epochs: x}}}",
        "L103",
        "x",
        "`epochs` must be a whole number, not the text `x`",
        None,
    ),
    "own message with help": (
        "train: {epochs: 13}",
        "L113",
        "t",
        "thirteen epochs bring bad luck",
        "choose 12 or 14",
    ),
    "own code and place": ("train: {epochs: 14}", "L107", "14", "really thirteen", "no"),
    "unit": ("train: {unit: eW}", "U302", "eW", "`eW` is not a unit", "did you mean `eV`?"),
    "dimension": (
        "train: {force: eV}",
        "U303",
        "eV",
        "`eV` is an energy, and `eV/Å` is a force",
        "name a unit of the same kind as `eV/Å`",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_errors_in_plain_words(case):
    text, code, marked, message, help = CASES[case]
    got = one(text)
    if case == "own message with help":  # about the whole spec: its first character
        assert (got[0], got[2], got[3]) == (code, message, help)
    else:
        assert got == (code, marked, message, help)


def test_all_errors_are_reported_in_order():
    diagnostics = found("equic: 2\nlayers: [{kind: gate, gates: x}, 3]\ntrain: {epochs: 0, rat: 1}")
    assert [str(d.span) for d in diagnostics] == [
        "spec.yaml:1:8",
        "spec.yaml:2:30",
        "spec.yaml:2:34",
        "spec.yaml:3:17",
        "spec.yaml:3:20",
    ]


def test_a_part_of_a_spec_is_found_by_its_prefix():
    report = Report()
    source = source_from_text("model:\n  train: {epochs: x}", report=report)
    with pytest.raises(ValidationError) as caught:
        Train.model_validate(source.data["model"]["train"])
    diagnose(caught.value, source, report, model=Train, prefix=("model", "train"))
    assert [str(d.span) for d in report.diagnostics] == ["spec.yaml:2:19"]


def test_values_filled_in_since_are_shown_at_their_nearest_ancestor():
    report = Report()
    source = source_from_text("model:\n  kind: preset", report=report)
    with pytest.raises(ValidationError) as caught:
        Root.model_validate({"train": {"epochs": "x"}})
    diagnose(caught.value, source, report, model=Root, prefix=("model",))
    assert [str(d.span) for d in report.diagnostics] == ["spec.yaml:2:3"]
