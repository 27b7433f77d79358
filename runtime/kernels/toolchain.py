"""From C source to a loaded library: which compiler, and a cache that concurrent builds can share."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch  # noqa: F401  its OpenMP must be in the process before a kernel looks for one
from equic.runtime.atomic import write_bytes
from equic.runtime.errors import EquicError

# No -ffast-math: linked into a library, it makes the whole process flush small numbers to zero. The kernels
# say themselves in which order they add.
_FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=default", "-w")

_PROBE = """
#include <stdint.h>
typedef float V __attribute__((vector_size(32)));
void probe(int64_t n, int64_t threads, float *x) {
#pragma omp parallel for num_threads(threads) if(threads > 1)
  for (int64_t i = 0; i < n; i++) { V v = {0}; v = v + 2.0f; x[i] = v[0]; }
}
"""


class KernelError(EquicError):
    """C code that was asked for and cannot be compiled or loaded."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A C compiler that has compiled and loaded a small kernel here.

    `link` is what it takes to find OpenMP: nothing where torch's own is found (one pool of threads serves
    both then), `-fopenmp`, or None where there is none.
    """

    path: str
    version: str
    target: tuple[str, ...]
    link: tuple[str, ...] | None

    @property
    def parallel(self) -> bool:
        """Whether kernels use several threads."""
        return self.link is not None

    def load(self, source: str) -> ctypes.CDLL:
        """The library of a C source, compiled unless the cache has it.

        The name is the hash of source, flags and compiler; a library appears under it by renaming, so
        processes that build the same one at once do not meet.

        Raises:
            KernelError: it does not compile, or the result does not load.
        """
        return _load(self, source)

    def prepare(self, sources: Iterable[str]) -> None:
        """Compile what the cache lacks of these sources, several at once: `load` then finds them.

        Raises:
            KernelError: one does not compile.
        """
        # the longest take longest, and are begun first
        ordered = sorted(dict.fromkeys(sources), key=len, reverse=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(lambda source: _file(self, source), ordered):
                pass

    def compile(self, source: str, out: Path, options: Sequence[str]) -> Path:
        """The object file of a C source.

        Raises:
            KernelError: it does not compile.
        """
        text = out.with_suffix(".c")
        text.write_text(source, encoding="utf-8")
        _run([self.path, *_FLAGS, *options, "-c", str(text), "-o", str(out)])
        return out

    def join(self, units: Sequence[Path], out: Path) -> Path:
        """Object files as one.

        Raises:
            KernelError: the linker refuses.
        """
        _run([self.path, "-r", "-nostdlib", *map(str, units), "-o", str(out)])
        return out


@cache
def find_toolchain() -> Toolchain | None:
    """The compiler that makes kernels: `$CC`, else cc, gcc or clang. None where none works."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        path = shutil.which(name) if name else None
        if path is None:
            continue
        version = _output([path, "--version"])
        if version is None:
            continue
        native = ("-mcpu=native",) if platform.machine() in ("arm64", "aarch64") else ("-march=native",)
        for target in (native, ()):
            for link in ((), ("-fopenmp",), None):
                made = Toolchain(path, version.splitlines()[0] if version else "", target, link)
                if _works(made):
                    return made
    return None


def cache_folder() -> Path:
    """Where compiled kernels are kept: `$XDG_CACHE_HOME/equic/kernels`, by default below `~/.cache`."""
    home = os.environ.get("XDG_CACHE_HOME")
    base = Path(home) if home and Path(home).is_absolute() else Path.home() / ".cache"
    return base / "equic" / "kernels"


def _works(toolchain: Toolchain) -> bool:
    try:
        probe = toolchain.load(_PROBE).probe
    except KernelError:
        return False
    values = (ctypes.c_float * 4)()
    probe(ctypes.c_int64(4), ctypes.c_int64(2), values)
    return list(values) == [2.0] * 4


@cache
def _load(toolchain: Toolchain, source: str) -> ctypes.CDLL:
    path = _file(toolchain, source)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        path.unlink(missing_ok=True)  # a library that does not load here must not stay
        raise KernelError(f"a compiled kernel does not load: {error}") from error


def _file(toolchain: Toolchain, source: str) -> Path:
    """Where the library of a source lies, compiled unless it is there."""
    identity = "\0".join((source, toolchain.path, toolchain.version, *_arguments(toolchain), _processor()))
    name = f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.so"
    path = cache_folder() / name
    if path.exists():
        return path
    try:
        return _build(toolchain, source, path)
    except OSError:  # no place for a cache: what is built serves this process
        path = _own_folder() / name
        return path if path.exists() else _build(toolchain, source, path)


@cache
def _own_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="equic-kernels-"))


def _build(toolchain: Toolchain, source: str, path: Path) -> Path:
    with tempfile.TemporaryDirectory(prefix="equic-kernel-") as folder:
        openmp = [] if toolchain.link is None else ["-fopenmp"]
        unit = toolchain.compile(source, Path(folder) / "kernel.o", [*toolchain.target, *openmp])
        library = Path(folder) / "kernel.so"
        _run([toolchain.path, "-shared", str(unit), "-o", str(library), *(toolchain.link or ()), "-lm"])
        return write_bytes(path, library.read_bytes())


def _arguments(toolchain: Toolchain) -> list[str]:
    return [*_FLAGS, *toolchain.target, str(toolchain.link)]


@cache
def _processor() -> str:
    """What `native` stands for: a cache on a shared disk serves machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {flags}"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        raise KernelError(
            f"{command[0]} does not compile a kernel: {first}",
            help='build the model with kernels="reference", and please report this',
        )


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
