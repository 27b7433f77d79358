"""Arrays of another program's model, made by the Python that has that program."""

from __future__ import annotations

import subprocess
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from equic.runtime.errors import EquicError
from numpy.typing import NDArray

_PACKAGES = {"mace": "mace-torch", "nequip": "nequip", "deepmd": "deepmd-kit and torch"}


def read_dump(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of a dump; nothing in it is unpickled.

    Raises:
        EquicError: the file is not there, or no npz of plain arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise EquicError(
            f"`{path}` is no file of arrays: {error}",
            help="an npz as `equic import` writes it with --keep-dump; a model itself needs --python",
        ) from error


def run_dump(
    peer: str,
    model: str | Path,
    *,
    python: str,
    out: str | Path | None = None,
    frames: str | Path | None = None,
    seed: int = 0,
    head: str | None = None,
) -> dict[str, NDArray[Any]]:
    """Let the peer's own Python read `model` and write it as arrays, with its answers on structures.

    Args:
        peer: `mace`, `nequip` or `deepmd`.
        python: an interpreter that has the peer; the script it runs imports nothing of equic.
        out: where to keep the npz; it is thrown away if not given.
        head: which of several heads to write, where the peer's models have some.
        frames: structures (any format of ASE) to answer, at most 20; random ones if not given.

    Raises:
        EquicError: there is no such interpreter, or the script fails; with the last lines that it wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(out) if out is not None else Path(folder) / "dump.npz"
        with as_file(files("equic.runtime.importing") / "peers") as scripts:
            script = scripts / f"{peer}_dump.py"
            command = [python, "-W", "ignore", str(script), str(model), str(target), "--seed", str(seed)]
            command += ["--frames", str(frames)] if frames is not None else []
            command += ["--head", head] if head is not None else []
            try:
                run = subprocess.run(command, capture_output=True, text=True, check=False)
            except OSError as error:
                raise EquicError(
                    f"`{python}` does not run: {error.strerror}",
                    help=f"give the Python of an environment that has {_PACKAGES[peer]}: --python PATH",
                ) from error
        if run.returncode != 0:
            last = "\n".join(f"  {line}" for line in run.stderr.strip().splitlines()[-4:])
            raise EquicError(
                f"`{python}` could not read `{model}` as a model of {peer}:\n{last}",
                help=f"this Python needs {_PACKAGES[peer]}, of the version that wrote the model",
            )
        return read_dump(target)
