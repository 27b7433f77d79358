"""Run a compiled package on stored inputs, in a process that knows nothing of equic.

    python -P worker.py PACKAGE INPUTS.safetensors OUTPUTS.safetensors

Inputs are named `CASE/POSITION/NAME`, outputs `CASE/POSITION`. After the cases the package must refuse an
input of the wrong dtype: that proves that torch's run-time checks are on, and thus that they hold at every
size that was run.
"""

import os
import sys
import warnings

os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"  # before torch: it is read once, at the first call
warnings.simplefilter("ignore")

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402


def main(package: str, inputs: str, outputs: str) -> None:
    loader = torch._C._aoti.AOTIModelPackageLoader(package, "model", False, 1, -1)  # as C++ hosts do
    cases: dict[int, dict[int, torch.Tensor]] = {}
    for key, value in load_file(inputs).items():
        number, place, _ = key.split("/")
        cases.setdefault(int(number), {})[int(place)] = value
    device = loader.get_metadata().get("AOTI_DEVICE_KEY", "cpu")
    results = {}
    arguments: list[torch.Tensor] = []
    for case in sorted(cases):
        arguments = [cases[case][position].to(device) for position in sorted(cases[case])]
        for position, value in enumerate(loader.run(arguments)):
            results[f"{case}/{position}"] = value.cpu().contiguous().clone()
    wrong = arguments[0].to(torch.float16)
    try:
        loader.run([wrong, *arguments[1:]])
    except Exception:
        pass
    else:
        raise SystemExit("the package took an input of the wrong dtype: its run-time checks are off")
    save_file(results, outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
