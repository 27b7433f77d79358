"""The Python interface: the journey of a spec, one function a stop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equic.compiler.pipeline import Compilation
    from equic.runtime.certify import Certificate
    from equic.runtime.certify.spectrum import Spectrum
    from equic.runtime.compare import Comparison
    from equic.runtime.model import Model
    from equic.runtime.plan import Plan
    from equic.runtime.training import TrainingResult

    from .loaded import Loaded

PathLike = str | Path


def check(spec: PathLike, overrides: Sequence[str] = (), *, data: bool = False) -> Compilation:
    """Compile a spec without torch, and read its data if asked to; look at `.ok` and `.report`."""
    from equic.compiler.pipeline import compile_file

    done = compile_file(str(spec), overrides)
    if data:
        from .data_check import check_data

        check_data(done)
    return done


def plan(spec: PathLike, overrides: Sequence[str] = ()) -> tuple[Plan, Compilation]:
    """The plan of a spec for the runtime.

    Raises:
        SpecError: the spec is wrong; its text shows every error with its line.
    """
    from equic.runtime.plan import Plan

    done = check(spec, overrides)
    done.report.raise_if_errors()
    assert done.plan is not None
    return Plan.from_json(done.plan), done


def compile(
    spec: PathLike, overrides: Sequence[str] = (), *, seed: int | None = None, dtype: str | None = None
) -> Model:
    """A torch module with fresh weights.

    Raises:
        SpecError: the spec is wrong.
    """
    import torch

    from equic.runtime.build import build_module

    made, _ = plan(spec, overrides)
    seed = int(made.train["seed"]) if seed is None else seed
    return build_module(made, seed=seed, dtype=getattr(torch, dtype or made.train["precision"]))


def train(
    spec: PathLike,
    overrides: Sequence[str] = (),
    *,
    progress: bool = True,
    **options: Any,
) -> TrainingResult:
    """Train a spec's model; the run goes to `runs/NAME/NUMBER`, or continues the folder `resume`.

    The data is checked first, as `check(spec, data=True)` does; with `progress`, warnings are printed. The
    options are those of `train_compiled`.

    Raises:
        SpecError: the spec is wrong, or the data does not fit it.
        EquicError: training met a number that is not finite.
    """
    done = check(spec, overrides, data=True)
    done.report.raise_if_errors()
    if progress:
        from equic.compiler.language.render import print_report

        print_report(done.report)
    return train_compiled(done, progress=progress, **options)


def train_compiled(
    done: Compilation,
    *,
    runs: PathLike = "runs",
    device: str = "auto",
    minutes: float | None = None,
    resume: PathLike | None = None,
    progress: bool = True,
    workers: int = 0,
    seeds: int = 1,
    log: Sequence[str] = (),
    accept_changes: bool = False,
) -> TrainingResult:
    """Train what `check(spec, data=True)` found fit for it.

    With `seeds`, so many runs one after another, from the spec's seed on; their errors are summed up in
    `seeds-N.json` beside them, and the last run is returned. Under torchrun all processes train one model. Every
    run's folder gets the graph as a picture, `graph.svg`.

    Raises:
        EquicError: training met a number that is not finite, or a run that cannot be resumed.
    """
    from equic.compiler.source_text import resolved_text
    from equic.runtime.plan import Plan
    from equic.runtime.training import TrainingError, new_run_directory
    from equic.runtime.training import train as run_training
    from equic.runtime.training.ranks import joined
    from equic.runtime.training.seeds import summarize

    assert done.plan is not None
    assert done.graph is not None
    made = Plan.from_json(done.plan)
    assert made.train is not None
    if seeds < 1 or (seeds > 1 and resume is not None):
        raise TrainingError(
            "several seeds are several new runs" if seeds > 1 else f"{seeds} seeds are no run",
            help="resume one run at a time, or leave `--seeds` out",
        )
    results = []
    with joined() as processes:
        for k in range(seeds):
            folder = processes.first(
                lambda: Path(resume) if resume else new_run_directory(Path(runs), made.name)
            )
            if processes.leads:
                from .show import picture

                (folder / "graph.svg").write_text(picture(done, done.graph), encoding="utf-8")
            result = run_training(
                made,
                directory=folder,
                device=device,
                minutes=minutes,
                resume=resume is not None,
                progress=progress,
                spec_text=resolved_text(done),
                seed=None if seeds == 1 else int(made.train["seed"]) + k,
                workers=workers,
                log=log,
                accept_changes=accept_changes,
            )
            results.append(result)
            if result.interrupted:
                break
        if seeds > 1 and processes.leads:
            summarize(made, results, progress=progress)
    return results[-1]


def tune(spec: PathLike, overrides: Sequence[str] = (), **options: Any) -> Any:
    """Search the fields that the spec marks with `search`; see `equic.tuning.tune_spec` for the options."""
    from .tuning import tune_spec

    return tune_spec(spec, overrides, **options)


def load(
    path: PathLike,
    *,
    device: str = "auto",
    dtype: str | None = None,
    tabulate: float | bool | None = None,
) -> Loaded:
    """An artifact (`.equic`) or an export (`.pt2`, `.standalone`), ready to predict, to calculate, to certify.

    Where the spec says `deploy: {tabulate: ...}`, networks that see edge lengths alone come as splines; this is what
    is certified and exported. `tabulate=False` gives the exact networks, `tabulate=1e-6` splines with this error
    whatever the spec says (a certificate in the file is then not of them).

    Raises:
        ArtifactError: the file is not, or no longer, what it claims to be.
        TableError: splines cannot have the error asked for, or there is nothing to tabulate.
    """
    from .loaded import load_file

    return load_file(Path(path), device=device, dtype=dtype, tabulate=tabulate)


def verify(
    path: PathLike,
    *,
    data: PathLike | None = None,
    device: str = "cpu",
    write: bool = False,
    thorough: bool = False,
) -> Certificate:
    """Measure every claim of a file again; with `write`, store the certificate in the artifact.

    `thorough` searches for the worst rotation from more starts and on all frames.

    Frames: those of `data`, else a few of the spec's test or validation set while its files are at hand, else
    random ones.

    Raises:
        ArtifactError: the file is damaged, or an export was to be written to.
    """
    from equic.runtime.certify import verify_file

    frames = _read_frames(Path(data)) if data is not None else _own_frames(Path(path))
    certificate = verify_file(Path(path), frames=frames, device=device, thorough=thorough)
    if write:
        from equic.runtime.artifact import update_certificate

        update_certificate(Path(path), certificate)
    return certificate


def spectrum(
    path: PathLike, *, data: PathLike | None = None, at: Sequence[str] = (), lmax: int = 4
) -> Spectrum:
    """Equivariance errors and character spectra of a file's outputs, and of the steps `at` of its graph.

    Frames as for `verify`.

    Raises:
        EquicError: a model of another kind than atoms, or a step that does not exist.
    """
    from equic.runtime.certify.spectrum import spectrum as measure

    frames = _read_frames(Path(data)) if data is not None else _own_frames(Path(path))
    return measure(load(path, device="cpu").model, frames=frames, at=at, lmax=lmax)


def compare(
    files: Sequence[PathLike],
    data: PathLike,
    *,
    tolerance: float | None = None,
    dtype: str | None = "float64",
) -> Comparison:
    """The same frames through each file, in any mix of formats; the worst disagreement of every two.

    Artifacts are computed in `dtype` (None: in the one that they store), exports in their own.

    Raises:
        DataError: fewer than two files, files of different kinds of system, or data that does not fit them.
        ArtifactError: a file is not, or no longer, what it claims to be.
    """
    from equic.runtime.compare import compare as run

    paths = [Path(file) for file in files]
    names = [path.name for path in paths]
    labels = names if len(set(names)) == len(names) else [str(path) for path in paths]
    if len(set(labels)) < len(labels):
        labels = [f"{label} ({number})" for number, label in enumerate(labels, start=1)]
    models = {
        label: load(path, device="cpu", dtype=dtype if path.suffix == ".equic" else None).model
        for label, path in zip(labels, paths, strict=True)
    }
    return run(models, _read_frames(Path(data)), tolerance=tolerance)


def _read_frames(file: Path) -> Any:
    """Structures in any format of ASE, or the states `z` of a file of arrays."""
    from equic.runtime.data.arrays import load_arrays
    from equic.runtime.data.paths import ARRAYS

    if file.suffix in ARRAYS:
        return load_arrays(file)["z"]
    from equic.runtime.data.structures import structures_of

    return structures_of(file)


def _own_frames(path: Path, count: int = 6) -> list[Any] | None:
    """A few frames of the file's own test or validation set, or None when its data is gone."""
    from equic.runtime.data import load_sets
    from equic.runtime.errors import DataError

    plan = load(path, device="cpu").plan
    if not plan.is_points or plan.data is None:
        return None
    try:
        sets = load_sets(plan)
    except (DataError, OSError):
        return None
    return list(sets.get("test") or sets.get("validation") or [])[:count] or None


def export(
    artifact: PathLike,
    out: PathLike | None = None,
    *,
    dtype: str | None = None,
    target: str | None = None,
) -> Path:
    """Write an artifact in a form that runs without equic, checked against the model it came from.

    `target` is `pt2` (a compiled package: forces inside, sizes dynamic) or `standalone` (a folder of readable
    Python and weights, for torch alone); without one the ending of `out` decides, and without that the first
    target of the spec. Both carry the certificate, and splines where the spec says `deploy: {tabulate: ...}`.

    Raises:
        ExportError: an unknown target, no C++ compiler (pt2), or a result that does not agree with the model.
    """
    from equic.runtime.artifact import load_artifact
    from equic.runtime.certify import probes
    from equic.runtime.errors import ExportError
    from equic.runtime.export import TARGETS
    from equic.runtime.tabulate import deployed

    loaded = load_artifact(Path(artifact))
    model = deployed(loaded.model)
    if target is None:
        endings = {one.suffix: name for name, one in TARGETS.items()}
        first = loaded.plan.export["targets"][0]
        target = first if out is None else endings.get(Path(out).suffix, first)
    if target not in TARGETS:
        raise ExportError(f"there is no target `{target}`", help=f"choose {' or '.join(TARGETS)}")
    kind = TARGETS[target]
    closest = (loaded.manifest["training"] or {}).get("closest_distances")
    return kind.write(
        model,
        Path(out) if out is not None else Path(artifact).with_suffix(kind.suffix),
        dtype=dtype or loaded.plan.export["dtype"],
        certificate=loaded.certificate,
        probes=probes(model, 0),
        meta={} if closest is None else {"closest_distances": closest},
    )
