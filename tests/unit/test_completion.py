"""Shells complete commands, options and codes; `equic explain` lists what it can explain."""

import os
import subprocess
import sys

import pytest
from equic.compiler.language.codes import Code


def equic(*arguments: str, **environment: str) -> str:
    command = [
        sys.executable,
        "-c",
        "from equic.cli import main; import sys; sys.argv[0] = 'equic'; main()",
        *arguments,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def completed(line: str) -> list[str]:
    words = line.split(" ")
    return equic(_EQUIC_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1)).split()


def test_commands_options_and_codes_are_completed():
    assert completed("equic che") == ["check"]
    assert "--data" in completed("equic check --d")
    assert completed("equic explain T20") == [str(code) for code in Code if code.startswith("T20")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed(shell, tmp_path):
    # the shell is named here; usually it is that of the terminal, and tests have none
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    said = equic("--install-completion", shell, HOME=str(tmp_path), **named)
    assert "completion installed in" in said
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(
        "equic" in path.name or "EQUIC" in path.read_text(encoding="utf-8").upper() for path in written
    )


def test_explain_without_a_code_lists_all():
    lines = equic("explain").splitlines()
    assert [line.split()[0] for line in lines] == [str(code) for code in Code]
    assert all(len(line) > 8 for line in lines)
    assert [line.split()[0] for line in equic("explain", "d").splitlines()] == [
        c for c in Code if c[0] == "D"
    ]
