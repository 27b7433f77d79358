"""Constant energy: a trained potential of ethanol keeps it, and its error falls with the square of the time step.

The spec is examples/01_ethanol, trained here and compiled to a .pt2, in float64. Velocity Verlet starts from a frame
of the data at 300 K. The slope of the total energy must lie within three standard errors of zero (those of
correlated samples), and halving the time step must cut the fluctuation of the total energy fourfold within 20 %.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Measurement, Row, parser, run

SPEC = ROOT / "examples/01_ethanol/spec.yaml"
FRAMES = ROOT / "examples/data/ethanol.xyz"
TEMPERATURE = 300.0  # K
DRIFT_STEP = 0.5  # fs
STEPS_FS = (0.5, 0.25)
LONG = (("duration", "ps", "higher"), ("slope of the total energy", "meV/atom/ps", "lower"),
        ("slope in its standard errors", "1", "lower"), ("fluctuation at 0.5 fs", "meV/atom", "lower"))  # fmt: skip
HALVED = (
    ("fluctuation at 0.5 fs over that at 0.25 fs", "1", "higher"),
    ("its distance from 4", "1", "lower"),
)


def trained(folder: Path, quick: bool) -> Path:
    """The example, trained and compiled."""
    import equic

    epochs = 12 if quick else 120
    result = equic.train(SPEC, [f"train.epochs={epochs}"], runs=folder, device="cpu", progress=False)
    return equic.export(result.artifact, folder / "ethanol.pt2")


def simulate(file: Path, *, picoseconds: float, timestep: float, seed: int, every: int) -> Any:
    """One trajectory at constant energy."""
    import ase.io
    from equic.runtime.dynamics import run_md

    import equic

    atoms = ase.io.read(FRAMES, index=seed)
    return run_md(
        atoms,
        equic.load(file, device="cpu").calculator(),
        temperature=TEMPERATURE,
        timestep_fs=timestep,
        steps=round(1e3 * picoseconds / timestep),
        log_every=every,
        seed=seed,
    )


def fluctuation(result: Any) -> float:
    """Standard deviation of the total energy about its straight line, meV/atom."""
    line = np.polyval(np.polyfit(result.time, result.total, 1), result.time)
    return float(1e3 * (result.total - line).std() / len(result.atoms))


def long_rows(file: Callable[[], Path], picoseconds: float) -> Sequence[Row]:
    """Slope and fluctuation over one long trajectory."""
    found = simulate(file(), picoseconds=picoseconds, timestep=DRIFT_STEP, seed=0, every=20)
    assert found.drift is not None
    slope, error = 1e3 * found.drift.slope, 1e3 * found.drift.standard_error
    values = (picoseconds, abs(slope), abs(slope) / error, fluctuation(found))
    floors, spreads = (None, None, 3.0, None), (None, error, None, None)
    return [
        Row(name, value, unit, better, floor=floor, spread=spread, threads=1, dtype="float64")  # type: ignore[arg-type]
        for (name, unit, better), value, floor, spread in zip(LONG, values, floors, spreads, strict=True)
    ]


def halved_rows(file: Callable[[], Path], picoseconds: float, seeds: int) -> Sequence[Row]:
    """How much less the energy fluctuates at half the step: RMS over pairs of runs that begin alike.

    Runs are short, so that the two of a pair stay close: how strongly the fastest bonds vibrate decides the
    fluctuation, and two long runs differ in that. The spread is that of leaving out one pair (jackknife).
    """
    found = np.array(
        [
            [
                fluctuation(simulate(file(), picoseconds=picoseconds, timestep=step, seed=seed, every=1))
                for step in STEPS_FS
            ]
            for seed in range(seeds)
        ]
    )
    ratio = pooled_ratio(found)
    without = (
        [pooled_ratio(np.delete(found, seed, axis=0)) for seed in range(seeds)] if seeds > 1 else [ratio]
    )
    spread = float(np.sqrt((seeds - 1) * np.var(without)))
    values, floors = (ratio, abs(ratio / 4.0 - 1.0)), (None, 0.2)
    return [
        Row(name, value, unit, better, floor=floor, seeds=seeds, spread=spread, threads=1, dtype="float64")  # type: ignore[arg-type]
        for (name, unit, better), value, floor in zip(HALVED, values, floors, strict=True)
    ]


def pooled_ratio(found: np.ndarray) -> float:
    """RMS of the first column over RMS of the second."""
    coarse, fine = np.sqrt((found**2).mean(axis=0))
    return float(coarse / fine)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 where a floor does not hold."""
    import torch

    made = parser((__doc__ or "").splitlines()[0])
    made.add_argument("--file", type=Path, help="a model of ethanol, in place of one that is trained now")
    options = made.parse_args(arguments)
    torch.set_num_threads(1)
    duration, short, seeds = (2.0, 0.3, 2) if options.quick else (50.0, 1.0, 12)
    with tempfile.TemporaryDirectory(prefix="equic-nve-") as name:

        @cache
        def file() -> Path:
            return options.file or trained(Path(name), options.quick)

        work = [
            Measurement(
                tuple((row[0], 1, "float64") for row in rows), partial(measure, file, duration, *more)
            )
            for rows, measure, duration, more in (
                (HALVED, halved_rows, short, (seeds,)),
                (LONG, long_rows, duration, ()),
            )
        ]
        result = run("nve", work, options)
    return int(any(row["holds"] is False for row in result["rows"]))


if __name__ == "__main__":
    sys.exit(main())
