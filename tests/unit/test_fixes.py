"""`equic check --fix`: safe changes of the text, everything else byte for byte as it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from equic.compiler.language.diagnostics import Position, Report, Span
from equic.compiler.language.fixes import Edit, Fix, apply_fixes, moved, replacing, wrapping
from equic.compiler.language.source import source_from_text
from equic.runtime.errors import EquicError

from equic.fixing import fix_spec, write_fixed

SOUND = """\
# a comment
equic: 1
name: fixed   # another
system: {kind: atoms, species: [H, C], cutoff: 4.0 Å}
symmetry: {O(3): hard}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}
model: {architecture: mace, channels: 4, layers: 1}
data:
  train: {path: a.xyz, labels: {energy: {key: energy, unit: eV}}}
  isolated_atoms: {H: -13.6, C: -1029.5}
train: {epochs: 10, optimizer: adam, loss: {energy: {weight: 1.0}}}
"""
# what a user wrote -> what was meant
SLIPS = {
    "systm:": "system:",
    "symmetries: {O(3)": "symmetry: {O(3)",
    "{o(3): hard}": "{O(3): hard}",
    "kind: atom,": "kind: atoms,",
    "species: [h, C]": "species: [H, C]",
    "4.0 Angstrm": "4.0 angstrom",
    "unit: ev}}}": "unit: eV}}}",
    "architecture: mce": "architecture: mace",
    "chanels: 4": "channels: 4",
    'channels: "4"': "channels: 4",
    "epochs: '10'": "epochs: 10",
    "epochs: 1_0": "epochs: 10",
    "optimizer: Adam": "optimizer: adam",
    "gradient_of: energy, wrt: position,": "gradient_of: energy, wrt: positions,",
    "labels: {enrgy:": "labels: {energy:",
    "loss: {Energy:": "loss: {energy:",
    "path: 7,": 'path: "7",',
    "{1: -13.6,": "{H: -13.6,",
    '{"1": -13.6,': "{H: -13.6,",
    "epochs: {search: {low: 2.0, high: 2e1}}": "epochs: {search: {low: 2, high: 20}}",
}
# a guess remains a guess
GUESSES = (
    "layers: {search: {low: 1.5, high: 3}}",
    "cutoff: 4.0}",
    "species: [Hx, C]",
    "architecture: xyz",
    "optimizer: sgd",
    "channels: many",
)


def damaged(slip: str, meant: str) -> str:
    wanted = {
        "epochs: {search: {low: 2, high: 20}}": "epochs: 10",
        'path: "7",': "path: a.xyz,",
        "4.0 angstrom": "4.0 Å",
    }.get(meant, meant)
    assert SOUND.count(wanted) == 1
    return SOUND.replace(wanted, slip)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "spec.yaml"


class TestTexts:
    def test_edits_that_meet_wait_for_another_round(self):
        one, two = Position(1, 1), Position(1, 4)
        first = replacing(Span("f", one, two), "x")
        second = replacing(Span("f", Position(1, 3), Position(1, 6)), "y")
        third = wrapping(Span("f", Position(1, 7), Position(1, 8)), "[", "]")
        assert apply_fixes("abcdefgh", [first, second, third]) == ("xdef[g]h", (first, third))

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_lines_end_as_they_did(self, end):
        text = end.join(["a: Å", "  b: 名", "c: d", ""])
        fix = replacing(Span("f", Position(2, 6), Position(2, 7)), "x")
        assert apply_fixes(text, [fix])[0] == end.join(["a: Å", "  b: x", "c: d", ""])

    def test_where_edits_stand_afterwards(self):
        text = "abc def\nghi"
        fixes = [
            replacing(Span("f", Position(1, 5), Position(1, 8)), "z"),
            Fix(
                (
                    Edit(Span("f", Position(1, 1), Position(1, 4)), "longer"),
                    Edit(Span("f", Position(2, 1), Position(2, 2)), ""),
                )
            ),
        ]
        after, placed = apply_fixes(text, fixes)
        assert after == "longer z\nhi"
        spans = moved(placed, text)
        assert [str(span) for span in spans] == ["f:1:8", "f:1:1", "f:2:1"]
        assert [span.end for span in spans] == [Position(1, 9), Position(1, 7), Position(2, 1)]

    def test_a_place_beyond_the_text_is_left_alone(self):
        fix = replacing(Span("f", Position(1, 5), Position(1, 9)), "x")
        assert apply_fixes("abc", [fix]) == ("abc", ())


class TestSlips:
    @pytest.mark.parametrize("slip", SLIPS)
    def test_a_slip_is_mended_and_nothing_else_changes(self, slip, file):
        meant = SLIPS[slip]
        file.write_text(damaged(slip, meant), encoding="utf-8")
        fixed = fix_spec(file)
        assert fixed.done.ok, fixed.done.report.errors
        assert len(fixed.mended) == 1
        assert fixed.after[str(file)] == damaged(slip, meant).replace(slip, meant)

    def test_all_slips_at_once(self, file):
        text = SOUND
        for slip, meant in SLIPS.items():
            if text.count(meant) == 1:
                text = text.replace(meant, slip)
        file.write_text(text, encoding="utf-8")
        fixed = fix_spec(file)
        assert fixed.done.ok
        assert fixed.after[str(file)].replace('"7"', "a.xyz").replace("angstrom", "Å") == SOUND

    @pytest.mark.parametrize("guess", GUESSES)
    def test_guesses_are_left_to_the_user(self, guess, file):
        key = guess.split(":")[0]
        start = SOUND.index(f"{key}:")
        end = (
            start + len(guess)
            if guess.endswith("}")
            else next(
                k
                for k in range(start, len(SOUND))
                if SOUND[k] in ",}" and SOUND[start:k].count("[") == SOUND[start:k].count("]")
            )
        )
        if guess.endswith("}"):
            end = SOUND.index("}", start) + 1
        file.write_text(SOUND[:start] + guess + SOUND[end:], encoding="utf-8")
        fixed = fix_spec(file)
        assert not fixed.done.ok
        assert fixed.after == {}

    def test_tabs(self, file):
        text = (
            SOUND.replace("  energy:", "\tenergy:")
            .replace("  forces:", "\tforces:")
            .replace("  train: {", "\ttrain: {")
            .replace("  isolated", "\tisolated")
        )
        file.write_text(text, encoding="utf-8")
        assert fix_spec(file).after[str(file)] == SOUND
        file.write_text(text.replace("\tforces", "  forces"), encoding="utf-8")
        assert fix_spec(file).after == {}

    def test_bounds_that_stand_the_wrong_way_round(self, file):
        text = SOUND.replace("channels: 4", "channels: {search: {low: 32, high: 8}}")
        file.write_text(text, encoding="utf-8")
        assert fix_spec(file).after[str(file)] == text.replace("low: 32, high: 8", "low: 8, high: 32")

    def test_a_fix_that_makes_another_error_is_taken_back(self, file):
        # `lmax` stands there already: renaming would write it twice
        text = SOUND.replace("epochs: 10", "epochs: 10, epoch: 20")
        file.write_text(text, encoding="utf-8")
        fixed = fix_spec(file)
        assert not fixed.done.ok
        assert fixed.after == {}

    def test_files_below_are_mended_and_the_command_line_is_not(self, file):
        file.with_name("base.yaml").write_text(SOUND.replace("name: fixed", "nme: fixed"), encoding="utf-8")
        file.write_text("extends: base.yaml\n", encoding="utf-8")
        fixed = fix_spec(file, ["train.optimizer=Adam"])
        assert fixed.after == {str(file.with_name("base.yaml")): SOUND}
        assert [str(one.code) for one in fixed.done.report.errors] == ["L104"]


class TestFiles:
    def test_mode_mark_and_line_ends_stay(self, file):
        data = "\ufeff" + SOUND.replace("name: fixed", "nme: fixed").replace("\n", "\r\n")
        file.write_bytes(data.encode())
        file.chmod(0o640)
        link = file.with_name("link.yaml")
        link.symlink_to(file)
        write_fixed(fix_spec(link))
        assert file.read_bytes() == data.replace("nme:", "name:").encode()
        assert file.stat().st_mode & 0o777 == 0o640
        assert link.is_symlink()

    def test_a_file_that_changed_meanwhile_is_not_written(self, file):
        file.write_text(SOUND.replace("name: fixed", "nme: fixed"), encoding="utf-8")
        fixed = fix_spec(file)
        file.write_text("mine", encoding="utf-8")
        with pytest.raises(EquicError, match="has changed meanwhile"):
            write_fixed(fixed)
        assert file.read_text(encoding="utf-8") == "mine"


def command(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "equic", "check", file.name, *options],
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def test_the_command(file):
    file.write_text(SOUND.replace("name: fixed", "nme: fixed"), encoding="utf-8")
    before = file.read_bytes()
    shown = command(file, "--diff")
    assert shown.returncode == 2
    assert "-nme: fixed   # another\n+name: fixed   # another\n" in shown.stdout
    assert "; `equic check --fix` mends 1" in shown.stderr
    assert "--fix would mend 1 problem in spec.yaml" in shown.stderr
    assert file.read_bytes() == before
    found = json.loads(command(file, "--json").stdout)
    (one,) = found["diagnostics"]
    assert one["fix"]["safe"] is True
    (edit,) = one["fix"]["edits"]
    assert edit["text"] == "name"
    done = command(file, "--fix")
    assert done.returncode == 0
    assert "mended 1 problem in spec.yaml" in done.stderr
    assert file.read_text(encoding="utf-8") == SOUND
    assert "nothing can be mended" in command(file, "--fix").stderr


def test_the_cases_of_the_diagnostics_are_mended_or_left(tmp_path):
    """After fixing, what was mended is gone, and no place that was changed has an error."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "diagnostics"))
    try:
        from test_markdown import CASES, HERE
    finally:
        sys.path.pop(0)
    shutil.copytree(HERE / "bases", tmp_path / "bases")
    file = tmp_path / "spec.yaml"
    mended = 0
    for case in CASES:
        file.write_text(case.spec, encoding="utf-8")
        fixed = fix_spec(file)
        left = {(one.code, one.message) for one in fixed.done.report.diagnostics}
        assert not left & {(one.code, one.message) for one in fixed.mended}, str(case)
        mended += bool(fixed.mended)
    assert mended > 12


def test_a_line_of_a_tab_alone_is_mended():
    """The tab that stops the reader may stand on a line with nothing else."""
    text = "a: 1\n\t\nb: {c: d}\n"
    report = Report()
    source_from_text(text, report=report)
    (found,) = report.diagnostics
    assert found.fix is not None
    changed, made = apply_fixes(text, [found.fix])
    assert made
    assert "\t" not in changed
