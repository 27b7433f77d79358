"""The command line. Exit codes: 0 fine, 1 a claim or check failed, 2 wrong use or spec, 130 interrupted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from . import __version__
from .commands_check import check
from .commands_cite import cite
from .commands_compare import compare
from .commands_doctor import doctor
from .commands_explain import explain
from .commands_import import importing
from .commands_init import init
from .commands_md import md
from .commands_prepare import prepare
from .commands_schema import schema
from .commands_show import show
from .commands_verify import verify
from .options import (
    DeviceOption,
    FileArgument,
    SetOption,
    SpecArgument,
    compiled,
    complaints,
    console,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        typer.echo(f"equic {__version__}")
        raise typer.Exit


@app.callback()
def common(
    _: Annotated[
        bool,
        typer.Option("--version", callback=version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """From a YAML spec to a symmetry- and physics-constrained torch model."""


@app.command()
def compile(
    spec: SpecArgument,
    overrides: SetOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="where to write NAME.equic")] = None,
) -> None:
    """Build the model with fresh weights and write it as an artifact.

    Example: [bold]equic compile spec.yaml -o model.equic[/bold]
    """
    from equic.compiler.source_text import resolved_text

    from . import api

    done = compiled(spec, overrides)
    from equic.runtime.artifact import save_artifact

    model = api.compile(spec, overrides or [])
    target = out or Path(f"{model.plan.name}.equic")
    save_artifact(target, model, spec_text=resolved_text(done))
    count = sum(value.numel() for value in model.parameters())
    console.print(f"wrote {target} ({count:,} parameters, untrained)")


@app.command()
def train(
    spec: SpecArgument,
    overrides: SetOption = None,
    runs: Annotated[Path, typer.Option(help="the folder of all runs")] = Path("runs"),
    minutes: Annotated[float | None, typer.Option(help="fit the schedule to this much time")] = None,
    resume: Annotated[Path | None, typer.Option(help="continue the run in this folder")] = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="resume although the spec has changed, where that can be")
    ] = False,
    seeds: Annotated[int, typer.Option(help="train so many times, with seeds one after another")] = 1,
    workers: Annotated[int, typer.Option(help="processes that read batches ahead")] = 0,
    log: Annotated[
        list[str] | None, typer.Option(help="where the history goes, too: tensorboard, wandb, mlflow")
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Train; the run goes to RUNS/NAME/NUMBER with the artifact, the history and the metrics.

    Example: [bold]equic train spec.yaml --minutes 10[/bold]
    """
    from . import api

    done = compiled(spec, overrides, data=True)
    api.train_compiled(
        done,
        runs=runs,
        minutes=minutes,
        resume=resume,
        workers=workers,
        seeds=seeds,
        log=log or [],
        accept_changes=accept_changes,
        device=device,
    )


@app.command()
def tune(
    spec: SpecArgument,
    overrides: SetOption = None,
    trials: Annotated[int | None, typer.Option(help="how many trials in all")] = None,
    minutes: Annotated[float | None, typer.Option(help="stop after this much time")] = None,
    storage: Annotated[Path | None, typer.Option(help="the journal; the same file resumes")] = None,
    runs: Annotated[Path, typer.Option(help="the folder of all runs")] = Path("runs"),
    repeats: Annotated[
        int | None, typer.Option(help="train the best this often again, with other seeds")
    ] = None,
    write: Annotated[Path | None, typer.Option(help="write the spec with the best values here")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Search the fields that the spec marks with `search`, with Optuna; resumable.

    Example: [bold]equic tune spec.yaml --write best.yaml[/bold]
    """
    from . import api

    compiled(spec, overrides, data=True)
    api.tune(
        spec,
        overrides or [],
        trials=trials,
        minutes=minutes,
        repeats=repeats,
        runs=runs,
        storage=storage,
        write=write,
        device=device,
        console=console,
    )


@app.command()
def export(
    artifact: Annotated[Path, typer.Argument(help="an artifact (.equic)", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="the package to write")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64")] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="pt2 or standalone; those of the spec if not given")
    ] = None,
) -> None:
    """Write the model so that it runs without equic: compiled (.pt2), or as readable Python (standalone).

    Each is checked against the model it came from, in a fresh process.

    Example: [bold]equic export model.equic --target standalone[/bold]
    """
    from . import api

    if target is None and out is None:
        target = list(api.load(artifact, device="cpu").plan.export["targets"])
    if out is not None and target is not None and len(target) > 1:
        complaints.print("[red]error[/red]: `--out` names one file, and there are several targets")
        raise typer.Exit(2)
    for one in target or [None]:
        path = api.export(artifact, out, dtype=dtype, target=one)
        files = path.rglob("*") if path.is_dir() else [path]
        console.print(f"wrote {path} ({sum(file.stat().st_size for file in files) / 1e6:.1f} MB)")


@app.command()
def predict(
    file: FileArgument,
    data: Annotated[Path, typer.Argument(help="structures, any format of ASE", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="where to write them with predictions")],
    batch: Annotated[int, typer.Option(help="structures at a time")] = 32,
    device: DeviceOption = "auto",
) -> None:
    """Predict every target of a model.

    Example: [bold]equic predict model.equic frames.xyz -o out.xyz[/bold]
    """
    from equic.runtime.predict import write_points, write_structures

    from . import api

    model = api.load(file, device=device)
    if model.plan.kind == "particles":
        write_points(model, data, out, batch)
        console.print(f"wrote {out}")
        return
    with console.status("predicting") as status:
        count = write_structures(
            model, data, out, batch, progress=lambda done: status.update(f"{done} structures")
        )
    console.print(f"wrote {out} ({count} structures)")


@app.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(help="runs, or folders that hold some", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="the page to write")] = Path("report.html"),
) -> None:
    """Write one self-contained HTML page on runs, searches, exports and trajectories.

    Example: [bold]equic report runs/ethanol/1 -o report.html[/bold]
    """
    from .reporting import report_on

    console.print(f"wrote {report_on(folders, out)}")


app.command()(md)
app.command()(check)
app.command()(show)
app.command()(compare)
app.command()(verify)
app.command()(init)
app.command()(prepare)
app.command()(cite)
app.command()(schema)
app.command()(doctor)
app.command()(explain)
app.add_typer(importing, name="import")


def main() -> None:
    """Run the command line; problems that the user can mend are printed without a traceback."""
    from equic.compiler.language.diagnostics import SpecError

    try:
        app(standalone_mode=True)
    except SpecError as error:
        print(str(error), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # torch loads with equic.runtime.errors' package only when it is already there
        errors = sys.modules.get("equic.runtime.errors")
        if errors is not None and isinstance(error, errors.EquicError):
            complaints.print("[red]error[/red]: ", end="")
            complaints.print(str(error), markup=False)
            sys.exit(2)
        raise
