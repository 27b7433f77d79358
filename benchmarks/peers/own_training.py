"""Our own training by the processor's clock: a worker of equal_time.py.

`python own_training.py ORDER` with ORDER a JSON file: spec, overrides, directory, budget (seconds), clock (the file
that it writes: JSON lines). It is `train` with a budget of minutes, as `equic train --minutes` has it, whose clock
is that of the processor, of this process and its children, from behind the imports to the artifact.
"""

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Processor:
    """Stands for the module `time` where a training looks at the clock."""

    @staticmethod
    def monotonic() -> float:
        """Processor seconds of this process and of its children that have ended."""
        return sum(os.times()[:4])


def main() -> None:
    """Train as the order says."""
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    import torch
    from equic.runtime.training import fit, train  # noqa: F401  # fit's imports are not counted

    from equic.api import plan

    torch.set_num_threads(1)
    for name in ("budget", "rounds", "run"):
        importlib.import_module(f"equic.runtime.training.{name}").time = Processor  # type: ignore[attr-defined]
    began, clock = Processor.monotonic(), Path(order["clock"])
    made, _ = plan(Path(order["spec"]), order["overrides"])

    def note(row: Mapping[str, Any]) -> None:
        forces = 1e3 * row["validation_forces_rmse"]
        line = {"epoch": row["epoch"], "seconds": Processor.monotonic() - began, "validation": forces}
        with clock.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    minutes = (order["budget"] - (Processor.monotonic() - began)) / 60
    result = train(
        made, directory=order["directory"], device="cpu", minutes=minutes, progress=False, observer=note
    )
    note(result.history[-1])  # with the errors at the end


if __name__ == "__main__":
    main()
