"""Our own training with a clock: a worker of equal_time.py.

`python own_training.py ORDER` with ORDER a JSON file: spec, overrides, directory, budget (seconds), clock (the file
that it writes: JSON lines). The number of epochs is what fits into the budget at the pace of the first steps, so
that the schedule ends with it. Seconds are those of the processor, of this process and its children, from behind
the imports to the artifact.
"""

import json
import os
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

PACE_STEPS = 60
OTHERS = 1.04  # what optimiser, data and validation add to the steps
MARGIN = 0.95  # of a budget: what the pace of the first steps may be wrong by


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(os.times()[:4])


def pace(plan: Any) -> float:
    """Processor seconds of one epoch, by a few steps of a model that is thrown away."""
    import torch
    from equic.runtime.build import build_module
    from equic.runtime.data import compute_statistics, load_sets
    from equic.runtime.memory import keep_freed_memory
    from equic.runtime.training.batches import TrainingStream
    from equic.runtime.training.begin import samples_by_set
    from equic.runtime.training.losses import loss_terms, with_weights
    from equic.runtime.training.module import TrainingModule
    from equic.runtime.training.schedule import Schedule
    from equic.runtime.training.watch import LossWatch

    keep_freed_memory()
    sets = load_sets(plan)
    model = build_module(plan, seed=plan.train["seed"])
    model.set_statistics(compute_statistics(plan, sets["train"]))
    model.train()
    device = torch.device("cpu")
    terms = loss_terms(plan)
    samples = samples_by_set(sets, terms, device)["train"]
    terms = with_weights(terms, sets["train"])
    watch = LossWatch(("loss", *(term.target for term in terms)), samples.describe, device)
    module = TrainingModule(model, terms, Schedule("constant", total=1), watch)
    stream = TrainingStream(samples, plan.train["batch"], plan.train["seed"], start=lambda: 0)
    batches = list(islice(iter(stream), PACE_STEPS))
    for batch in batches[:3]:
        module.losses(batch)
    began = processor_seconds()
    for batch in batches:
        module.losses(batch)
    return OTHERS * (processor_seconds() - began) / len(batches) * stream.steps(1)


def main() -> None:
    """Train as the order says."""
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    import torch
    from equic.runtime.training import fit, train  # noqa: F401  # fit's imports are not counted

    from equic.api import plan as planned

    torch.set_num_threads(1)
    began, clock = processor_seconds(), Path(order["clock"])
    made, _ = planned(Path(order["spec"]), order["overrides"])
    epoch = pace(made)
    epochs = max(1, int(MARGIN * (order["budget"] - (processor_seconds() - began)) / epoch))
    made, _ = planned(Path(order["spec"]), [*order["overrides"], f"train.epochs={epochs}"])

    def note(row: Mapping[str, Any]) -> None:
        forces = 1e3 * row["validation_forces_rmse"]
        line = {"epoch": row["epoch"], "seconds": processor_seconds() - began, "validation": forces}
        with clock.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    result = train(made, directory=order["directory"], device="cpu", progress=False, observer=note)
    note(result.history[-1])  # with the errors at the end


if __name__ == "__main__":
    main()
