"""The shape of the project: who may import whom, what is packaged, how long files are."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "equic": "equic",
    "compiler": "equic.compiler",
    "runtime": "equic.runtime",
    "specs": "equic.specs",
}
# What each half may import of the others. `equic` imports both, inside functions.
ALLOWED = {
    "compiler": {"equic.compiler", "equic.specs"},
    "runtime": {"equic.runtime"},
    "specs": set(),
    "equic": {"equic", "equic.compiler", "equic.runtime", "equic.specs"},
}
HEAVY = ("torch", "e3nn", "lightning", "optuna", "ase", "vesin", "scipy", "matplotlib", "pint", "safetensors")


# Scripts that other programs' Pythons run: they are shipped as data, and nothing of ours imports them.
SCRIPTS = ROOT / "runtime/importing/peers"


def sources() -> list[Path]:
    found = sorted(path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py"))
    return [path for path in found if path.parent != SCRIPTS]


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, at the top of the file) for every absolute import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for node in ast.walk(block)
    }
    found = []
    for node in ast.walk(tree):
        top = node in tree.body
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append((node.module, top))
    return found


@pytest.mark.parametrize("folder", list(PACKAGES))
def test_imports_point_one_way(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        for module, _ in imports(path):
            if module == "equic" or module.startswith("equic."):
                home = ".".join(module.split(".")[:2])
                allowed = ALLOWED[folder]
                assert home in allowed or module.split(".")[0] in allowed, f"{path} imports {module}"


def test_the_compiler_does_not_import_heavy_packages():
    for path in sorted((ROOT / "compiler").rglob("*.py")):
        for module, _ in imports(path):
            assert module.split(".")[0] not in HEAVY, f"{path} imports {module}"


def test_check_leaves_heavy_packages_alone():
    code = (
        "import sys, equic; done = equic.check('examples/01_ethanol/spec.yaml'); assert done.ok, done.report;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_package_is_listed():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = set()
    for folder, name in PACKAGES.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join([name, *inner]))
    assert found == set(declared["tool"]["setuptools"]["packages"])


def test_every_folder_with_code_is_a_package():
    for path in sources():
        assert (path.parent / "__init__.py").exists(), f"{path.parent} has no __init__.py"


@pytest.mark.parametrize("folder", [*PACKAGES, "tests", "benchmarks", "examples"])
def test_no_file_is_longer_than_500_lines(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, path


def test_every_module_says_what_it_is():
    for path in sources():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring"
