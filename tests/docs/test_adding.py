"""`compiler/ADDING.md`, followed: a copy of the packages gets the op and the preset of the page, and both work."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "compiler/ADDING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.S)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The packages as a wheel lays them out, and the conformance tests, changed as the page says."""
    place = tmp_path_factory.mktemp("adding")
    skipped = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "equic", place / "equic", ignore=skipped)
    for name in ("compiler", "runtime", "specs"):
        shutil.copytree(ROOT / name, place / "equic" / name, ignore=skipped)
    (place / "tests/conformance").mkdir(parents=True)
    shutil.copy(ROOT / "tests/conformance/checking.py", place / "tests/conformance")
    for language, text in BLOCKS:
        first, _, rest = text.partition("\n")
        path = first.removeprefix("# ").strip()
        target = place / (path if path.startswith(("tests/", "spec.yaml")) else f"equic/{path}")
        if language == "diff":
            target.write_text(changed(target.read_text(encoding="utf-8"), rest), encoding="utf-8")
        else:
            assert not target.exists(), f"{path} is there already"
            target.write_text(rest if language == "python" else text, encoding="utf-8")
    return place


def changed(text, diff):
    """Each added line behind the line of context before it, which must occur, first occurrence first."""
    lines, at = text.splitlines(), 0
    for line in diff.splitlines():
        if line.startswith(" "):
            at = lines.index(line[1:], at) + 1
        else:
            assert line.startswith("+"), line
            lines.insert(at, line[1:])
            at += 1
    return "\n".join(lines) + "\n"


def run(copy, *command):
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_all_its_blocks():
    assert [language for language, _ in BLOCKS] == [
        "python",
        "diff",
        "python",
        "diff",
        "python",
        "yaml",
        "yaml",
    ]


def test_the_op_keeps_what_its_type_says(copy):
    out = run(
        copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "tests/conformance"
    )
    assert "7 passed" in out


def test_the_op_is_part_of_the_language(copy):
    out = run(copy, "-m", "equic", "check", "spec.yaml")
    assert "SO(3)        hard           exact" in out
    assert "soft_cap" in run(copy, "-m", "equic", "show", "spec.yaml", "--emit", "torch")
    run(copy, "-m", "equic", "schema", "--write")
    assert "| `soft_cap` |" in (copy / "equic/specs/OPS.md").read_text(encoding="utf-8")


def test_the_preset_compiles_and_its_energies_do_not_turn(copy):
    code = (
        "import equic, torch\n"
        "from equic.runtime.testing.inputs import random_atoms_inputs, random_rotation, rotate_inputs\n"
        "model = equic.compile('spec.yaml', ['model={architecture: radial_density}'], dtype='float64')\n"
        "x = random_atoms_inputs(model.plan, 1, 8, seed=0)\n"
        "y = rotate_inputs(x, random_rotation(1, improper=True))\n"
        "a, b = model(x)['energy'], model(y)['energy']\n"
        "assert torch.allclose(a, b, rtol=1e-12, atol=1e-12), (a, b)\n"
        "assert model(x)['forces'].abs().max() > 1e-3\n"
        "print(equic.__file__)\n"
    )
    out = run(copy, "-c", code)
    assert out.strip().startswith(str(copy))
