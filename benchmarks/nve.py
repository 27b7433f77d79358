"""Constant energy: a trained potential of ethanol keeps it, and its error falls with the square of the time step.

The spec is examples/01_ethanol, trained here and compiled to a .pt2, in float64. Velocity Verlet starts from a frame
of the data at 300 K. The slope of the total energy must lie within three standard errors of zero (those of noise as
slow as the vibrations exchange energy), and so must that of the shadow energy, which has a hundredth of the noise:
what the integration or the forces add or lose shows there. The same in float32 says what rounding does. Halving the
time step must cut the fluctuation of the total energy fourfold within 20 %. The first trajectory is drawn beside the
JSON.
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
LONG = (
    ("slope of the total energy", "meV/atom/ps"),
    ("slope of the total energy in its standard errors", "1"),
    ("fluctuation of the total energy", "meV/atom"),
    ("slope of the shadow energy", "meV/atom/ps"),
    ("slope of the shadow energy in its standard errors", "1"),
    ("fluctuation of the shadow energy", "meV/atom"),
)
HALVED = (
    ("fluctuation at 0.5 fs over that at 0.25 fs", "1", "higher"),
    ("its distance from 4", "1", "lower"),
)


def trained(folder: Path, quick: bool) -> dict[str, Path]:
    """The example, trained, and compiled in each precision."""
    import equic

    epochs = 12 if quick else 120
    result = equic.train(SPEC, [f"train.epochs={epochs}"], runs=folder, device="cpu", progress=False)
    return {
        dtype: equic.export(result.artifact, folder / f"{dtype}.pt2", dtype=dtype)
        for dtype in ("float64", "float32")
    }


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


def fluctuation(time: np.ndarray, energy: np.ndarray, atoms: int) -> float:
    """Standard deviation of an energy about its straight line, meV/atom."""
    line = np.polyval(np.polyfit(time, energy, 1), time)
    return float(1e3 * (energy - line).std() / atoms)


def long_rows(
    file: Callable[[str], Path], dtype: str, picoseconds: float, picture: Path | None = None
) -> Sequence[Row]:
    """Slope and fluctuation of total and shadow energy over one long trajectory."""
    found = simulate(file(dtype), picoseconds=picoseconds, timestep=DRIFT_STEP, seed=0, every=20)
    if picture is not None:
        from equic.runtime.dynamics.picture import draw_run

        draw_run(found, picture)
    values: list[float] = []
    spreads: list[float | None] = []
    for drift, time, energy in (
        (found.drift, found.time, found.total),
        (found.shadow_drift, found.time[1:-1], found.shadow),
    ):
        slope, error = 1e3 * drift.slope, 1e3 * drift.standard_error
        values += [slope, abs(slope) / error, fluctuation(time, energy, len(found.atoms))]
        spreads += [error, None, None]
    exact = dtype == "float64"
    return [
        Row(
            name=f"{name}, {picoseconds:g} ps",
            value=value,
            unit=unit,
            better="lower",
            floor=3.0 if unit == "1" and (exact or "total" in name) else None,
            spread=spread,
            threads=1,
            dtype=dtype,
        )
        for (name, unit), value, spread in zip(LONG, values, spreads, strict=True)
    ]


def halved_rows(file: Callable[[str], Path], picoseconds: float, seeds: int) -> Sequence[Row]:
    """How much less the energy fluctuates at half the step: RMS over pairs of runs that begin alike.

    Runs are short, so that the two of a pair stay close: how strongly the fastest bonds vibrate decides the
    fluctuation, and two long runs differ in that. The spread is that of leaving out one pair (jackknife).
    """
    found = np.empty((seeds, len(STEPS_FS)))
    for seed in range(seeds):
        for place, step in enumerate(STEPS_FS):
            run = simulate(file("float64"), picoseconds=picoseconds, timestep=step, seed=seed, every=1)
            found[seed, place] = fluctuation(run.time, run.total, len(run.atoms))
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
    made.add_argument("--folder", type=Path, help="keep the models here, and take those that are there")
    options = made.parse_args(arguments)
    torch.set_num_threads(1)
    duration, single, short, seeds = (2.0, 1.0, 0.3, 2) if options.quick else (50.0, 10.0, 1.0, 12)
    picture = options.json.with_suffix(".svg") if options.json is not None else None
    with tempfile.TemporaryDirectory(prefix="equic-nve-") as name:

        @cache
        def files() -> dict[str, Path]:
            known = {
                dtype: (options.folder or Path(name)) / f"{dtype}.pt2" for dtype in ("float64", "float32")
            }
            if all(path.is_file() for path in known.values()):
                return known
            return trained(options.folder or Path(name), options.quick)

        def file(dtype: str) -> Path:
            return files()[dtype]

        halved = tuple((row[0], 1, "float64") for row in HALVED)
        work = [Measurement(halved, partial(halved_rows, file, short, seeds))]
        for dtype, span, drawn in (("float64", duration, picture), ("float32", single, None)):
            keys = tuple((f"{row}, {span:g} ps", 1, dtype) for row, _ in LONG)
            work.append(Measurement(keys, partial(long_rows, file, dtype, span, drawn)))
        result = run("nve", work, options)
    return int(any(row["holds"] is False for row in result["rows"]))


if __name__ == "__main__":
    sys.exit(main())
