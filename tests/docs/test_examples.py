"""Every example has a spec and a page; what the page says can be run, and the quick commands are."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from equic.cli import app

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path for path in (ROOT / "examples").iterdir() if re.match(r"\d\d_", path.name))


def commands(folder: Path) -> list[str]:
    text = (folder / "README.md").read_text(encoding="utf-8")
    return [line for block in re.findall(r"```bash\n(.*?)```", text, re.S) for line in block.splitlines()]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_commands_of_an_example_name_its_spec_and_its_run(folder, monkeypatch):
    monkeypatch.chdir(ROOT)
    name = re.search(r"(?m)^name: (\S+)", (folder / "spec.yaml").read_text(encoding="utf-8"))[1]
    for line in commands(folder):
        program, command, target, *_ = line.split()
        assert program == "equic"
        if command in ("verify", "export"):
            assert target == f"runs/{name}/1/model.equic"
        else:
            assert target == f"examples/{folder.name}/spec.yaml"
        if command in ("check", "show"):
            assert CliRunner().invoke(app, line.split()[1:]).exit_code == 0, line


def test_there_are_examples():
    assert len(FOLDERS) >= 5
    assert all((folder / "spec.yaml").exists() for folder in FOLDERS)
