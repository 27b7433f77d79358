"""How many threads a training run takes on the CPU."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from equic.runtime.plan import Plan
from equic.runtime.sizes import pair_numbers

# Below this many numbers in the widest value of a batch a second thread gains nothing, and where other
# programs want the cores too, threads that wait for each other made a step up to 30 times slower.
NUMBERS_PER_THREAD = 4_000_000


def threads_for(plan: Plan, edges: float, atoms: float, systems: float, cores: int) -> int:
    """Threads for batches of so many edges and atoms (or rows of states): one for every 4 million numbers.

    The count is of the step that makes most of them on edges, pairs of edges or tokens, or of the widest at all
    where no step does.
    """
    made = pair_numbers(plan, edges, atoms)
    numbers = max(made, default=systems * max(step.dim for step in plan.steps))
    return max(1, min(cores, int(numbers // NUMBERS_PER_THREAD)))


@contextmanager
def limited(count: int | None) -> Iterator[None]:
    """Inside, torch computes with so many threads; None leaves them as they are."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def chosen_by_user() -> bool:
    """Whether the environment says how many threads there should be."""
    return any(os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"))
