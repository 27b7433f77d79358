"""Is everything here that equic needs? Versions, compiler, GPU, and what is known to bite with these versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Status = Literal["ok", "missing", "too old", "too new", "broken"]
Version = tuple[int, ...]

OLDEST_PYTHON: Version = (3, 11)
# Not among the requirements, and what each is for.
OPTIONAL = {"e3nn": "tests against reference kernels", "tblite": "the data of the examples"}
_REQUIREMENT = re.compile(r"^([A-Za-z0-9_.-]+)\s*([^;]*)")
_LIMIT = re.compile(r"(>=|<)\s*([\d.]+)")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for. `needed`: equic does not work without it."""

    name: str
    version: str | None
    status: Status
    needed: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Trap:
    """Something that is known to go wrong with some versions of a package."""

    package: str
    applies: Callable[[Version], bool]
    text: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was found; `ok` when nothing needed is missing, broken, too old or too new."""

    findings: tuple[Finding, ...]
    traps: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return all(one.status == "ok" for one in self.findings if one.needed)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: {ok, findings, traps}."""
        return {"ok": self.ok, "findings": [asdict(one) for one in self.findings], "traps": list(self.traps)}


TRAPS: tuple[Trap, ...] = (
    Trap(
        "torch",
        lambda version: version[:2] == (2, 10),
        "torch 2.10: compiling a package can fail inside inductor's code cache (pytorch#173706); export with another",
    ),
    Trap(
        "torch",
        lambda version: version[:2] == (2, 11),
        "torch 2.11: compiled packages regressed on CPUs (pytorch#178417); run `equic verify` on every export",
    ),
    Trap(
        "torch",
        lambda version: version >= (2, 10),
        "compiled .pt2 packages check their inputs only under AOTI_RUNTIME_CHECK_INPUTS=1, and read wrong numbers from "
        "wrong strides or types without it; equic's loader sets it, hosts in other languages have to",
    ),
    Trap(
        "e3nn",
        lambda version: version < (0, 5),
        "e3nn before 0.5: wigner_3j has other signs for (1,l,l), l >= 2, so weights of such models need a sign "
        "change, and it does not import with torch 2.6 or later",
    ),
    Trap(
        "lightning",
        lambda version: version[:2] == (2, 6),
        "lightning 2.6 with torch 2.13: a FutureWarning on `isinstance(treespec, LeafSpec)` is harmless",
    ),
    Trap(
        "optuna",
        lambda version: version >= (5,),
        "optuna 5: TPE is multivariate by default, so a study begun with optuna 4 goes on with another sampler",
    ),
    Trap(
        "ase",
        lambda version: version >= (3, 23),
        "ase moves `energy`, `forces` and `stress` of extended XYZ into atoms.calc.results: a script that looks in "
        "atoms.info or atoms.arrays misses them (equic looks in all three)",
    ),
    Trap(
        "tblite",
        lambda version: version[:2] == (0, 8),
        "tblite 0.8: the ASE keyword `electric_field` raises; add the field to its calculator as a list",
    ),
)


def examine() -> Diagnosis:
    """Look at Python, every requirement, the optional packages, the compilers and the GPU."""
    needed = _requirements()
    findings = [_python(), _equic()]
    findings += [_package(name, limits, needed=True) for name, limits in needed.items()]
    findings += [_package(name, "", needed=False) for name in OPTIONAL]
    findings += [_kernels(), _compiler(), _cuda()]
    findings = [_imported(one) for one in findings]
    versions = {one.name: one.version for one in findings if one.version is not None}
    return Diagnosis(tuple(findings), known_traps(versions))


def known_traps(versions: Mapping[str, str]) -> tuple[str, ...]:
    """The traps of these versions, in the order of the table."""
    return tuple(
        trap.text
        for trap in TRAPS
        if trap.package in versions and trap.applies(parse_version(versions[trap.package]))
    )


def parse_version(text: str) -> Version:
    """The release as numbers; what follows (`+cpu`, `rc1`) is left out.

    Example:
        >>> parse_version("2.13.0+cpu")
        (2, 13, 0)
    """
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def judge(version: str, limits: str) -> Status:
    """Whether a version lies within limits such as `>=0.6,<0.7`.

    Example:
        >>> judge("2.9.1", ">=2.10"), judge("0.7.0", "<0.7,>=0.6"), judge("2.13.0+cpu", ">=2.10")
        ('too old', 'too new', 'ok')
    """
    found = parse_version(version)
    for sign, text in _LIMIT.findall(limits):
        bound = parse_version(text)
        width = max(len(found), len(bound))
        here, there = (one + (0,) * (width - len(one)) for one in (found, bound))
        if sign == ">=" and here < there:
            return "too old"
        if sign == "<" and here >= there:
            return "too new"
    return "ok"


def _requirements() -> dict[str, str]:
    """Package → limits, of what equic declares without extras."""
    try:
        declared = importlib.metadata.requires("equic") or []
    except importlib.metadata.PackageNotFoundError:
        declared = []
    found = (_REQUIREMENT.match(text) for text in declared if "extra ==" not in text)
    return {match[1]: match[2].strip() for match in found if match}


def _python() -> Finding:
    version = platform.python_version()
    status: Status = "ok" if sys.version_info[:2] >= OLDEST_PYTHON else "too old"
    return Finding("python", version, status, True, f"{platform.system()} {platform.machine()}")


def _equic() -> Finding:
    """Without its metadata the requirements are unknown."""
    try:
        return Finding("equic", importlib.metadata.version("equic"), "ok", True)
    except importlib.metadata.PackageNotFoundError:
        return Finding("equic", None, "missing", True, "not installed: pip install .")


def _package(name: str, limits: str, *, needed: bool) -> Finding:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        note = f"pip install '{name}{limits}'" if needed else f"optional: {OPTIONAL[name]}"
        return Finding(name, None, "missing", needed, note)
    status = judge(version, limits)
    return Finding(name, version, status, needed, "" if status == "ok" else f"pip install '{name}{limits}'")


def _imported(found: Finding) -> Finding:
    """torch, which everything rests on, must not only be there but import (its libraries may not fit)."""
    if found.name != "torch" or found.status == "missing":
        return found
    try:
        import torch
    except Exception as error:  # a broken installation fails in many ways
        return replace(found, status="broken", note=f"does not import: {error}")
    return replace(found, note=found.note or f"{torch.get_num_threads()} threads of {os.cpu_count()} cores")


def _kernels() -> Finding:
    """The compiler of the fast kernels, tried on a small one."""
    slow = "models run several times slower without it"
    try:
        from equic.runtime.kernels import find_toolchain
    except Exception as error:  # without torch there is no runtime
        return Finding("C compiler", None, "missing", False, f"torch does not import: {error}")
    made = find_toolchain()
    if made is None:
        return Finding(
            "C compiler", None, "missing", False, f"no cc, gcc or clang that works, or set CC; {slow}"
        )
    version = re.search(r"\d+(?:\.\d+)+", made.version)
    note = made.path if made.parallel else f"{made.path}, without OpenMP: kernels use one thread"
    return Finding("C compiler", version[0] if version else None, "ok", False, note)


def _compiler() -> Finding:
    """The compiler that inductor uses, tried on a line of C++ (one without headers is found, and useless)."""
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    path = shutil.which(name)
    only = "only `equic export` needs it"
    if path is None:
        return Finding(
            "C++ compiler", None, "missing", False, f"no `{name}`: install one, or set CXX; {only}"
        )
    command = [path, "-std=c++17", "-fsyntax-only", "-x", "c++", "-"]
    try:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=True)
        source = "#include <vector>\nint main() { return std::vector<int>{}.size(); }\n"
        subprocess.run(command, input=source, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        detail = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
        return Finding("C++ compiler", None, "broken", False, "; ".join([path, *detail, only]))
    version = re.search(r"\d+(?:\.\d+)+", shown.stdout)
    return Finding("C++ compiler", version[0] if version else None, "ok", False, path)


def _cuda() -> Finding:
    """What torch sees; none is no fault, but a GPU that torch cannot use deserves a word."""
    try:
        import torch
    except Exception as error:  # a broken installation fails in many ways
        return Finding("CUDA", None, "missing", False, f"torch does not import: {error}")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        return Finding("CUDA", torch.version.cuda, "ok", False, ", ".join(names))
    built = "this torch is built for CPUs" if torch.version.cuda is None else "torch sees no device"
    driver = shutil.which("nvidia-smi") is not None
    note = f"there is an NVIDIA driver, but {built}" if driver else f"{built}; everything runs on the CPU"
    return Finding("CUDA", torch.version.cuda, "missing", False, note)
