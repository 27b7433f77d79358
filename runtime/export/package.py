"""Compile a model ahead of time into one `.pt2` file that runs without equic and without Python."""

from __future__ import annotations

import logging
import os
import platform
import secrets
import shutil
import sys
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from equic.runtime.build import Model
from equic.runtime.device import pick_device
from equic.runtime.errors import EquicError, ExportError

from .metadata import FORMAT, KEY, JsonDocument, as_json, metadata_of
from .operators import Linked, can_link, link_operators, linking
from .selfcheck import self_check
from .signature import DTYPES
from .trace import Traced, recast, trace


def export_pt2(
    model: Model,
    path: str | Path,
    *,
    dtype: str = "float64",
    device: str = "cpu",
    portable: bool = True,
    threads: int = 1,
    certificate: JsonDocument | Mapping[str, Any] | None = None,
    probes: Any = None,
    meta: Mapping[str, Any] | None = None,
) -> Path:
    """Write `model` as an AOTInductor package, forces and stress computed inside.

    The program takes tensors by position and returns tensors by position:

        atoms         positions [atoms, 3] f64 (Å), species [atoms] i64, cell [systems, 3, 3] f64 (Å),
                      system [atoms] i64, edges [2, edges] i64 (source; target), shifts [edges, 3] f64
        phase space   state [batch, dim] f64

    Atoms, edges (none included), systems and batch are free. Outputs and their order are in the metadata,
    under the key `equic`, as JSON: format, plan, inputs and outputs (name, dtype, shape), units, dtype,
    device, isa, threads, kernels, constants (which weight is which constant of the package), graph_hash,
    weights_hash, certificate, probes, versions, meta.

    Generated C becomes part of the package, on the CPU of a machine with a C compiler (`kernels: c` in the
    metadata); elsewhere the layers as they are written do (`kernels: reference`). Neither needs a compiler, or
    anything but torch, where it runs.

    `portable` compiles for x86-64-v3 (AVX2, every x86 server since 2015) instead of this very processor.
    `threads` is fixed in the code: one, the default, is fastest up to about a thousand atoms and gives the
    same bits every time.

    The file is checked before it takes its name: a fresh process runs it at 1, 2, 17 and 1000 atoms, without
    edges and with several systems, with torch's run-time checks on, and the numbers must be those of the
    model in float64 (largest difference 1e-11 of the largest value; 2e-5, or four times the model's own rounding
    if that is more, for float32). Where that fails no file is left behind.

    Measured on ten molecules of 15 atoms (MACE, 2 layers, lmax 3, correlation 3; float64, one thread of a shared
    Xeon, torch 2.13, medians of calls in turn): 25 ms with kernels against 60 ms of the layers, and 30 ms of the
    model in Python, with 64 invariant channels; 81, 347 and 64 ms with 128x0e+128x1o (there the model's kernels
    are compiled for this very processor, AVX-512 included, and the package's for AVX2). Exports took 51 and 68 s
    of processor time, 48 and 70 s with layers.

    Hosts in other languages should set `AOTI_RUNTIME_CHECK_INPUTS=1`, and must pass contiguous tensors of the
    stated dtypes: without the variable nothing is checked, and wrong strides give wrong numbers in silence.

    Raises:
        ExportError: wrong arguments, no C++ compiler, a model that cannot be traced or compiled, or a file
            that does not agree with the model.
    """
    path = Path(path)
    if path.suffix != ".pt2":
        raise ExportError(f"`{path}` does not end in .pt2", help=f"write `{path.name}.pt2`")
    if dtype not in ("float32", "float64"):
        raise ExportError(f"a model is exported in float32 or float64, not `{dtype}`")
    if threads < 1:
        raise ExportError(f"threads must be at least 1, not {threads}")
    find_compiler()
    papers = metadata_of(model, dtype=dtype, certificate=certificate, probes=probes, meta=meta)
    target = pick_device(device)
    twin = recast(model, DTYPES[dtype], target, kernels="reference")
    traced, linked = _traced(model, twin, threads)
    isa = "x86-64-v3" if portable and platform.machine() in ("x86_64", "AMD64") else "native"
    metadata = papers | {
        "format": FORMAT,
        "inputs": [port.to_json() for port in traced.inputs],
        "outputs": [port.to_json() for port in traced.outputs],
        "device": target.type,
        "isa": isa,
        "threads": threads,
        "kernels": "c" if linked.sources else "reference",
        "constants": traced.constants,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.pt2")
    try:
        _compile(traced, draft, as_json(metadata), linked, isa=isa, threads=threads)
        self_check(draft, twin, traced.inputs)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def find_compiler() -> str:
    """The path of the C++ compiler that inductor will use: `$CXX`, else g++ (clang++ on macOS).

    Raises:
        ExportError: there is none.
    """
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    found = shutil.which(name)
    if found is None:
        raise ExportError(
            f"export compiles C++ code, and no compiler `{name}` was found",
            help="install one (Debian: `apt install g++`), or name it in the variable CXX; "
            "running an exported file needs none",
        )
    return found


def _traced(model: Model, twin: Model, threads: int) -> tuple[Traced, Linked]:
    """The program of `model` on kernels with their C code, where they can be linked; else that of `twin`."""
    device = next(iter(twin.state_dict().values())).device
    if device.type == "cpu" and model.choice in ("auto", "c") and can_link():
        fast = recast(model, twin.dtype, kernels="c")
        if fast.form == "c":
            traced = trace(fast)
            return traced, link_operators(traced.program, threads)
    return trace(twin), Linked()


def _compile(traced: Traced, draft: Path, metadata: str, linked: Linked, *, isa: str, threads: int) -> None:
    settings: dict[str, Any] = {
        "aot_inductor.metadata": {KEY: metadata},
        "aot_inductor.check_lowerbound": False,  # sizes 0 and 1 are legal
        # small weights, and those that only scale something, stay constants that can be replaced
        "always_keep_tensor_constants": True,
        "joint_graph_constant_folding": False,
        "cpp.threads": threads,
    }
    if isa == "x86-64-v3":
        settings |= {"cpp.march": "x86-64-v3", "cpp.simdlen": 256}
    log = logging.getLogger("torch._inductor")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="equic-package-")))
            settings |= stack.enter_context(linking(linked, folder, isa, threads))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # torch warns about its own pytrees and scripted helpers
            torch._inductor.aoti_compile_and_package(
                traced.program, package_path=str(draft.resolve()), inductor_configs=settings
            )
    except EquicError:
        raise
    except Exception as problem:
        lines = str(problem).strip().splitlines() or [type(problem).__name__]
        raise ExportError(f"the model could not be compiled: {lines[0]}") from problem
    finally:
        log.setLevel(level)
