"""Time of one step of our MACE on the CPU in each of its forms: energy and forces, and a training step.

Forms:    generated C; torch on tables of neighbours, what serves without a compiler and on GPUs; the layers as they
are written, which the other two are compared with, in turn in one process. One thread is timed by the processor.
Model:    2 layers, correlation 3, cutoff 5 Å, radial network 64-64-64, features C x 0e + C x 1o between the
layers. Systems:  acac10, ten acetylacetone molecules of 15 atoms in one batch; si216, a rattled diamond cell,
periodic. Training: loss on energy per atom and forces, gradients of all weights; the optimiser's own update
is left out.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from common import Measurement, Row, cores, interleaved, paired_ratio, parser, run, spread_of

CUTOFF = 5.0
WHAT = ("energy+forces", "training step")
FORMS = {"c": "generated C", "torch": "torch on tables", "reference": "layers as written"}
# keto form; the geometry only has to be chemically plausible
ACETYLACETONE = (
    "C5O2H8",
    [
        [-2.52, -0.62, 0.10], [-1.25, 0.19, 0.02], [0.00, -0.65, -0.25], [1.27, 0.18, -0.02],
        [2.55, -0.60, 0.05], [-1.22, 1.40, 0.17], [1.25, 1.39, 0.13], [-3.38, 0.02, 0.32],
        [-2.44, -1.38, 0.89], [-2.68, -1.14, -0.85], [0.02, -1.53, 0.41], [0.00, -1.01, -1.28],
        [3.41, 0.05, 0.22], [2.50, -1.34, 0.86], [2.70, -1.15, -0.88],
    ],
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One model on one system, in one dtype, with so many threads."""

    system: str
    channels: int
    lmax: int
    dtype: str
    threads: int

    def name(self, what: str, form: str) -> str:
        """The name of a row: what is measured, the model, the system, the form."""
        model = f"mace {self.channels}x0e+{self.channels}x1o lmax {self.lmax}"
        return f"{what}, {model}, {self.system}, {FORMS[form]}"


def cases(quick: bool) -> Iterator[Case]:
    """Every case, or with `quick` the default model at one thread and the small one."""
    if quick:
        for system, (channels, lmax) in product(("acac10", "si216"), ((16, 2), (64, 3))):
            yield Case(system, channels, lmax, "float32", 1)
        return
    threads = [count for count in (1, 2) if count <= cores()]
    for system, channels, lmax, dtype, count in product(
        ("acac10", "si216"), (16, 64), (2, 3), ("float32", "float64"), threads
    ):
        yield Case(system, channels, lmax, dtype, count)


def structures(system: str) -> list[Any]:
    """The ASE structures of a system, displaced by 0.05 Å at random."""
    from ase import Atoms
    from ase.build import bulk

    rng = np.random.default_rng(0)
    if system in ("single", "acac10"):
        formula, positions = ACETYLACETONE
        made = [Atoms(formula, positions=positions) for _ in range(1 if system == "single" else 10)]
    elif system == "si216":
        made = [bulk("Si", "diamond", a=5.43, cubic=True) * (3, 3, 3)]
    elif system in ("si1000", "si10648", "si97336"):
        cells = {"si1000": 5, "si10648": 11, "si97336": 23}[system]
        made = [bulk("Si", "diamond", a=5.43, cubic=True) * (cells, cells, cells)]
    elif system == "cu256":
        made = [bulk("Cu", "fcc", a=3.61, cubic=True) * (4, 4, 4)]
    else:
        raise ValueError(f"no system {system}")
    for atoms in made:
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    return made


def measure(case: Case, repeats: int) -> Sequence[Row]:
    """All rows of a case, timed in turn."""
    import torch

    torch.set_num_threads(case.threads)
    clock = time.process_time if case.threads == 1 else time.perf_counter
    rows = []
    for what, steps in steps_of(case).items():
        seconds = interleaved(steps, repeats, clock=clock)
        for form, samples in seconds.items():
            rows.append(
                Row(
                    name=case.name(what, form),
                    value=1e3 * statistics.median(samples),
                    unit="ms",
                    better="lower",
                    reference=None if form == "reference" else 1e3 * statistics.median(seconds["reference"]),
                    source=None if form == "reference" else "the layers as written, in turn in one process",
                    ratio=None if form == "reference" else paired_ratio(samples, seconds["reference"])[0],
                    spread=None if (spread := spread_of(samples)) is None else 1e3 * spread,
                    threads=case.threads,
                    dtype=case.dtype,
                )
            )
    return rows


def steps_of(case: Case) -> dict[str, dict[str, Callable[[], object]]]:
    """Both steps of a case in each form as functions without arguments, on fixed inputs and random labels."""
    import torch
    from equic.runtime.build import build_module
    from equic.runtime.model import Model
    from equic.runtime.neighbors import model_inputs
    from equic.runtime.testing.plans import mace_plan
    from equic.runtime.training.losses import loss_terms, term_losses

    frames = structures(case.system)
    species = sorted({symbol for atoms in frames for symbol in atoms.get_chemical_symbols()})
    plan = mace_plan(
        channels=case.channels,
        lmax=case.lmax,
        species=species,
        cutoff=CUTOFF,
        stress=False,
        widths=(64, 64, 64),
    )
    inputs = model_inputs(frames, plan)
    counts = torch.bincount(inputs["system"]).double()
    models = {
        form: build_module(plan, seed=0, dtype=getattr(torch, case.dtype), kernels=form) for form in FORMS
    }
    for model in models.values():
        model.set_statistics({"average_neighbors": inputs["edges"].shape[1] / len(inputs["positions"])})
    draw = torch.Generator().manual_seed(0)
    labels = {
        "energy": torch.randn(len(frames), generator=draw, dtype=torch.float64),
        "forces": torch.randn(inputs["positions"].shape, generator=draw, dtype=torch.float64),
    }
    terms = loss_terms(plan)
    weights = torch.tensor([term.weight for term in terms], dtype=torch.float64)

    def train(model: Model) -> object:
        model.zero_grad(set_to_none=True)
        outputs = model.trainable(inputs, [term.target for term in terms])
        loss = weights @ term_losses(terms, outputs, labels, counts)
        loss.backward()
        return loss

    predict, fit = WHAT
    return {
        predict: {form: partial(model, inputs) for form, model in models.items()},
        fit: {form: partial(train, model) for form, model in models.items()},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    options = parser(__doc__.splitlines()[0]).parse_args(arguments)
    repeats = options.repeats or (5 if options.quick else 15)
    groups = [
        Measurement(
            keys=tuple(
                (case.name(what, form), case.threads, case.dtype) for what, form in product(WHAT, FORMS)
            ),
            measure=partial(measure, case, repeats),
        )
        for case in cases(options.quick)
    ]
    run("step_time", groups, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
