"""Run a standalone folder on stored inputs, in a process where equic cannot be imported.

    python -P standalone_worker.py FOLDER INPUTS.safetensors OUTPUTS.safetensors

Inputs are named `CASE/POSITION/NAME`, outputs `CASE/POSITION`.
"""

import importlib.abc
import sys
import warnings

warnings.simplefilter("ignore")


class Refuse(importlib.abc.MetaPathFinder):
    """What a machine without these packages says."""

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name.partition(".")[0] in ("equic", "e3nn", "scipy", "ase", "vesin", "pydantic"):
            raise ModuleNotFoundError(name)
        return None


def main(folder: str, inputs: str, outputs: str) -> None:
    sys.dont_write_bytecode = True  # the folder holds what was exported, and nothing else
    sys.meta_path.insert(0, Refuse())
    sys.path.insert(0, folder)
    from run import load
    from safetensors.torch import load_file, save_file

    cases: dict[int, dict[str, object]] = {}
    for key, value in load_file(inputs).items():
        number, _, name = key.split("/")
        cases.setdefault(int(number), {})[name] = value
    model = load()
    results = {
        f"{case}/{place}": value.detach().contiguous().clone()
        for case, given in cases.items()
        for place, value in enumerate(model(given).values())
    }
    save_file(results, outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
