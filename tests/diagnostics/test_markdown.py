"""Diagnostics as Markdown: each heading is a case, with prose, a spec, and exactly what the compiler says of it.

A case has a `yaml` block (a whole spec; `extends: bases/atoms.yaml` keeps it short), a `diagnostics` block (in
full, or one line each), and may have a `mended` block, a spec that compiles without errors.
`UPDATE_GOLDEN=1 pytest tests/diagnostics` writes what the compiler says now; read the difference before you commit.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from equic.compiler.language.codes import Code
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.render import render_concise, render_full
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec

HERE = Path(__file__).parent
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?:error|warning|note)\[([A-Z]\d{3})\]")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One heading of a file; `start` and `end` delimit the text of its diagnostics block."""

    file: Path
    title: str
    spec: str
    expected: str
    mended: str | None
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.file.stem}-{self.title}"


def read_cases(file: Path) -> list[Case]:
    text = file.read_text(encoding="utf-8")
    fences = list(FENCE.finditer(text))
    outside = [
        match
        for match in HEADING.finditer(text)
        if not any(f.start() < match.start() < f.end() for f in fences)
    ]
    ends = [match.start() for match in outside[1:]] + [len(text)]
    cases = []
    for heading, end in zip(outside, ends, strict=True):
        blocks = {f.group(1): f for f in fences if heading.end() <= f.start() < end}
        if not blocks:
            continue  # a heading with prose alone
        assert {"yaml", "diagnostics"} <= set(blocks), f"{file.name}: `{heading.group(1)}` lacks a block"
        found, mended = blocks["diagnostics"], blocks.get("mended")
        cases.append(
            Case(
                file,
                heading.group(1),
                blocks["yaml"].group(2),
                found.group(2),
                mended.group(2) if mended else None,
                found.start(2),
                found.end(2),
            )
        )
    return cases


def compile_text(text: str) -> Report:
    report = Report()
    source = source_from_text(text, report=report, directory=HERE)
    if source is not None:
        compile_spec(source, report)
    return report


def say(text: str, *, concise: bool) -> str:
    report = compile_text(text)
    parts = [
        render_concise(diagnostic) if concise else render_full(diagnostic, report.texts)
        for diagnostic in report.diagnostics
    ]
    # paths of base files are those of this machine
    return (("\n" if concise else "\n\n").join(parts) + "\n").replace(f"{HERE}{os.sep}", "")


FILES = sorted(HERE.glob("*.md"))
CASES = [case for file in FILES for case in read_cases(file)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_diagnostics(case):
    first = case.expected.partition("\n")[0]
    assert case.expected or UPDATE, "the diagnostics block is empty"
    got = say(case.spec, concise=bool(re.match(r"\S+:\d+:\d+: ", first)))
    if got != case.expected and UPDATE:
        assert "CI" not in os.environ, "golden texts are not rewritten in continuous integration"
        rewrite(case, got)
        return
    assert got == case.expected


@pytest.mark.parametrize("case", [case for case in CASES if case.mended is not None], ids=str)
def test_the_mended_spec_compiles(case):
    report = compile_text(case.mended)
    report.raise_if_errors()


def rewrite(case: Case, got: str) -> None:
    """Put the new text into the file, whose other cases may have been rewritten since it was read."""
    (now,) = [other for other in read_cases(case.file) if other.title == case.title]
    text = case.file.read_text(encoding="utf-8")
    case.file.write_text(text[: now.start] + got + text[now.end :], encoding="utf-8")


def test_titles_are_unique_in_each_file():
    for file in FILES:
        titles = [case.title for case in CASES if case.file == file]
        assert len(set(titles)) == len(titles)
        assert titles


# what no text of a spec shows: overrides of the command line, a search without spaces, very large and badly
# encoded files; tests/unit has them
ELSEWHERE = {Code.BAD_OVERRIDE, Code.NOTHING_TO_SEARCH, Code.TOO_LARGE, Code.ENCODING}


def test_every_code_has_a_case():
    said = {Code(code) for case in CASES for code in CODE.findall(case.expected)}
    assert said == set(Code) - ELSEWHERE
