"""Diagnostics as Markdown: each heading is a case, with prose, a spec, and exactly what the compiler says of it.

A case has a `yaml` block (a whole spec; `extends: bases/atoms.yaml` keeps it short), a `diagnostics` block (in
full, or one line each), and a `mended` block, a spec that compiles without errors and without the codes of the case.
Where there can be none, an `unmended` block says why.
A case about data has a `script` block, Python that writes the files into an empty folder; then the files are
checked too, for the spec and for the mended one (whose own `mended-script`, if any, writes over them). A `script`
under the first heading of a file runs before that of every case.
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

from equic.data_check import check_data

HERE = Path(__file__).parent
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
FENCE = re.compile(r"^```([\w-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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
    unmended: str | None
    scripts: tuple[str, ...]
    mending: tuple[str, ...]
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
    cases, common = [], []
    for heading, end in zip(outside, ends, strict=True):
        blocks = {f.group(1): f for f in fences if heading.end() <= f.start() < end}
        if not blocks:
            continue  # a heading with prose alone
        if set(blocks) == {"script"} and not cases:
            common.append(blocks["script"].group(2))
            continue
        assert {"yaml", "diagnostics"} <= set(blocks), f"{file.name}: `{heading.group(1)}` lacks a block"
        found, mended = blocks["diagnostics"], blocks.get("mended")
        scripts, mending = (
            tuple(blocks[name].group(2) for name in (name,) if name in blocks)
            for name in ("script", "mended-script")
        )
        cases.append(
            Case(
                file,
                heading.group(1),
                blocks["yaml"].group(2),
                found.group(2),
                mended.group(2) if mended else None,
                blocks["unmended"].group(2) if "unmended" in blocks else None,
                (*common, *scripts) if scripts or common else (),
                mending,
                found.start(2),
                found.end(2),
            )
        )
    return cases


def compile_text(text: str, *, data: bool = False) -> Report:
    report = Report()
    source = source_from_text(text, report=report, directory=HERE)
    if source is not None:
        done = compile_spec(source, report)
        if data:
            check_data(done)
    return report


def run_scripts(scripts: tuple[str, ...]) -> None:
    """Run the scripts of a case, one after the other, in one namespace and the present folder."""
    names: dict[str, object] = {}
    for script in scripts:
        exec(compile(script, "<script>", "exec"), names)


def say(text: str, *, concise: bool, data: bool = False) -> str:
    report = compile_text(text, data=data)
    parts = [
        render_concise(diagnostic) if concise else render_full(diagnostic, report.texts)
        for diagnostic in report.diagnostics
    ]
    # paths of base files are those of this machine
    return (("\n" if concise else "\n\n").join(parts) + "\n").replace(f"{HERE}{os.sep}", "")


FILES = sorted(HERE.glob("*.md"))
CASES = [case for file in FILES for case in read_cases(file)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_diagnostics(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_scripts(case.scripts)
    first = case.expected.partition("\n")[0]
    assert case.expected or UPDATE, "the diagnostics block is empty"
    got = say(case.spec, concise=bool(re.match(r"\S+:\d+:\d+: ", first)), data=bool(case.scripts))
    if got != case.expected and UPDATE:
        assert "CI" not in os.environ, "golden texts are not rewritten in continuous integration"
        rewrite(case, got)
        return
    assert got == case.expected


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_mended_spec_compiles(case, tmp_path, monkeypatch):
    if case.mended is None:
        assert case.unmended, f"`{case.title}` needs a `mended` block, or an `unmended` one that says why not"
        return
    monkeypatch.chdir(tmp_path)
    run_scripts((*case.scripts, *case.mending))
    report = compile_text(case.mended, data=bool(case.scripts))
    report.raise_if_errors()
    said = set(CODE.findall(case.expected))
    left = {str(diagnostic.code) for diagnostic in report.diagnostics}
    assert not said & left, "the mended spec still gets the diagnostic that it mends"


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
