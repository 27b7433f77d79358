"""Compiling kernels: the cache, several processes at once, and machines that cannot."""

import ctypes
import logging
import os
import subprocess
import sys

import pytest
from equic.runtime import build
from equic.runtime.build import build_module
from equic.runtime.kernels import KernelError, find_toolchain
from equic.runtime.kernels.toolchain import _load, cache_folder
from equic.runtime.testing.plans import mace_plan

needs_compiler = pytest.mark.skipif(find_toolchain() is None, reason="no C compiler")
ADD = "#include <stdint.h>\nint64_t add(int64_t a, int64_t b) { return a + b; } // %s"


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache, and nothing remembered of the compiler."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    remembered = (find_toolchain, build._compiler_found, _load)
    for one in remembered:
        one.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    for one in remembered:
        one.cache_clear()


@needs_compiler
def test_a_library_is_built_once_and_kept(fresh):
    library = find_toolchain().load(ADD % fresh)
    assert library.add(ctypes.c_int64(40), ctypes.c_int64(2)) == 42
    kept = sorted(cache_folder().iterdir())
    code = f"from equic.runtime.kernels import find_toolchain; find_toolchain().load({ADD % fresh!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert sorted(cache_folder().iterdir()) == kept


@needs_compiler
def test_processes_that_build_the_same_library_do_not_meet(fresh):
    code = f"from equic.runtime.kernels import find_toolchain; print(find_toolchain().load({ADD % fresh!r}).add(1, 2))"
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [process.communicate()[0].strip() for process in running] == ["3"] * 3
    assert not [path for path in cache_folder().iterdir() if path.suffix != ".so"]


@needs_compiler
def test_a_cache_that_cannot_be_written_is_no_obstacle(fresh, monkeypatch):
    (fresh / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(fresh / "file"))
    assert find_toolchain().load(ADD % "no cache").add(1, 1) == 2


@needs_compiler
def test_several_are_compiled_at_once(fresh):
    """As many processes of the compiler as there are cores, and nothing to compile afterwards."""
    sources = [ADD % f"{fresh} {number}" for number in range(5)]
    find_toolchain().prepare([*sources, sources[0]])
    kept = sorted(cache_folder().iterdir())
    assert [find_toolchain().load(source).add(2, 3) for source in sources] == [5] * 5
    assert sorted(cache_folder().iterdir()) == kept
    with pytest.raises(KernelError, match="does not compile"):
        find_toolchain().prepare([*sources, "this is no C"])


@needs_compiler
def test_one_model_has_one_source_in_every_process(fresh):
    """Sets are walked in another order in each process: nothing in the text may depend on one."""
    code = (
        "from equic.runtime.build import build_module; from equic.runtime.kernels.runner import Runner;"
        "from equic.runtime.testing.plans import mace_plan; import torch;"
        "runner = Runner(build_module(mace_plan(channels=4, lmax=1), kernels='c'));"
        "print(runner._compiled().text.source)"
    )
    environments = [{**os.environ, "PYTHONHASHSEED": seed} for seed in ("1", "2", "3")]
    found = [
        subprocess.run(
            [sys.executable, "-c", code], env=one, capture_output=True, text=True, check=True
        ).stdout
        for one in environments
    ]
    assert len(found[0]) > 1000
    assert len(set(found)) == 1


@needs_compiler
def test_a_damaged_library_is_removed(fresh):
    toolchain = find_toolchain()
    toolchain.load(ADD % "damaged")
    code = f"from equic.runtime.kernels import find_toolchain; find_toolchain().load({ADD % 'damaged'!r})"
    newest = max(cache_folder().iterdir(), key=lambda path: path.stat().st_mtime_ns)
    newest.write_bytes(b"no library")
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "does not load" in failed.stderr
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_compiler
def test_code_that_does_not_compile_is_our_fault_and_says_so(fresh):
    with pytest.raises(KernelError, match="does not compile"):
        find_toolchain().load("int f( {")


def test_without_a_compiler_torch_serves_and_says_so(fresh, monkeypatch, caplog):
    monkeypatch.setenv("PATH", str(fresh))
    monkeypatch.delenv("CC", raising=False)
    with caplog.at_level(logging.WARNING, logger="equic"):
        assert not build_module(mace_plan(channels=2)).fused
        build_module(mace_plan(channels=2))
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["no C compiler was found"]
    with pytest.raises(KernelError, match="no C compiler"):
        build_module(mace_plan(channels=2), kernels="c")


def test_a_compiler_that_does_not_work_is_none(fresh, monkeypatch):
    broken = fresh / "cc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(fresh))
    monkeypatch.setenv("CC", str(broken))
    assert find_toolchain() is None


def test_doctor_tells(fresh, monkeypatch):
    from equic import doctor

    monkeypatch.setenv("PATH", str(fresh))
    monkeypatch.delenv("CC", raising=False)
    assert doctor._kernels().status == "missing"
