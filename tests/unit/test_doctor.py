"""`equic doctor` on this machine, and on machines that lack things."""

import importlib.metadata
import json
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from equic.runtime.errors import ExportError
from equic.runtime.export.package import find_compiler
from typer.testing import CliRunner

from equic import doctor
from equic.cli import app
from equic.doctor import OLDEST_PYTHON, OPTIONAL, TRAPS, Finding, examine, judge, known_traps, parse_version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def found(name: str) -> Finding:
    (one,) = (one for one in examine().findings if one.name == name)
    return one


def test_everything_needed_is_here():
    diagnosis = examine()
    assert diagnosis.ok
    names = [one.name for one in diagnosis.findings]
    assert {"python", "torch", "lightning", "optuna", "e3nn", "ase", "vesin", "C++ compiler", "CUDA"} <= set(
        names
    )
    assert len(names) == len(set(names))
    for requirement in PROJECT["dependencies"]:
        assert requirement.split(">")[0] in names
    assert PROJECT["requires-python"] == f">={OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]}"
    assert not set(OPTIONAL) & {text.split(">")[0] for text in PROJECT["dependencies"]}


def test_the_command_says_so_in_words_and_in_json():
    run = CliRunner().invoke(app, ["doctor"])
    assert run.exit_code == 0
    assert importlib.metadata.version("torch") in run.output
    facts = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).output)
    assert facts["ok"] is True
    assert facts["findings"][0]["name"] == "python"


def test_a_package_that_is_missing_or_too_old_fails(monkeypatch):
    real = importlib.metadata.version

    def without(gone: str, instead: str | None):
        def version(name: str) -> str:
            if name != gone:
                return real(name)
            if instead is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return instead

        return version

    monkeypatch.setattr(importlib.metadata, "version", without("vesin", None))
    assert not examine().ok
    assert found("vesin").note.startswith("pip install 'vesin>=")
    run = CliRunner().invoke(app, ["doctor"])
    assert run.exit_code == 1
    monkeypatch.setattr(importlib.metadata, "version", without("optuna", "4.9.0"))
    assert found("optuna").status == "too old"
    assert not examine().ok
    monkeypatch.setattr(importlib.metadata, "version", without("e3nn", None))
    assert examine().ok, "e3nn is optional"


def test_a_torch_that_does_not_import_fails():
    # a process of its own: this one has imported torch already
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from equic.doctor import examine\n"
        "found = {one.name: one.status for one in examine().findings}\n"
        "print(found['torch'], found['CUDA'], examine().ok)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["broken", "missing", "False"]


def test_the_compiler_is_the_one_that_export_uses(monkeypatch, tmp_path):
    one = found("C++ compiler")
    if one.status == "ok":
        assert one.note == find_compiler()
    monkeypatch.setenv("CXX", "no-such-compiler")
    one = found("C++ compiler")
    assert (one.status, one.needed) == ("missing", False)
    with pytest.raises(ExportError):
        find_compiler()
    broken = tmp_path / "broken-c++"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo 1.2.3 && exit 0\necho no headers >&2\nexit 1\n'
    )
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(broken))
    one = found("C++ compiler")
    assert one.status == "broken"
    assert "no headers" in one.note
    assert examine().ok


def test_a_gpu_that_torch_cannot_use_is_mentioned(monkeypatch, tmp_path):
    import torch

    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\n")
    driver.chmod(driver.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "NVIDIA driver" in doctor._cuda().note


@pytest.mark.parametrize(
    ("version", "limits", "status"),
    [
        ("2.10", ">=2.10", "ok"),
        ("2.10.0", ">=2.10", "ok"),
        ("2.9.9", ">=2.10", "too old"),
        ("2.13.0+cpu", ">=2.10", "ok"),
        ("3.0rc1", "<3,>=2", "too new"),
        ("0.6.9", "<0.7,>=0.6", "ok"),
        ("1.0", "", "ok"),
    ],
)
def test_versions_are_compared_as_numbers(version, limits, status):
    assert judge(version, limits) == status


def test_traps_go_with_versions():
    assert parse_version("odd") == ()
    assert any("173706" in text for text in known_traps({"torch": "2.10.1"}))
    assert not any("173706" in text for text in known_traps({"torch": "2.13.0+cpu"}))
    assert any("sign" in text for text in known_traps({"e3nn": "0.4.4"}))
    assert known_traps({"e3nn": "0.6.0"}) == ()
    known = {text.split(">")[0] for text in PROJECT["dependencies"]} | set(OPTIONAL)
    assert {trap.package for trap in TRAPS} <= known
