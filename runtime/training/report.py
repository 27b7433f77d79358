"""Errors in the units that people of the field read, and the table at the end of a run."""

from collections.abc import Mapping
from dataclasses import dataclass

from equic.runtime.plan import Plan
from rich.table import Table

from .metrics import Metrics


@dataclass(frozen=True, slots=True)
class Shown:
    """How the errors of a target are shown: unit, factor, and their names in the metrics."""

    target: str
    unit: str
    factor: float
    rmse: str
    mae: str


def shown_targets(plan: Plan) -> tuple[Shown, ...]:
    """The plan's targets, in meV instead of eV, energies per atom.

    Example:
        >>> from equic.runtime.testing.plans import mace_plan
        >>> [shown.unit for shown in shown_targets(mace_plan())]
        ['meV/atom', 'meV/Å', 'meV/Å^3']
    """
    per_atom = plan.per_atom
    return tuple(_shown(target, output.unit, target in per_atom) for target, output in plan.outputs.items())


def _shown(target: str, unit: str, per_atom: bool) -> Shown:
    milli = unit == "eV" or unit.startswith("eV/")
    factor, name = (1000.0, f"m{unit}") if milli else (1.0, "" if unit == "1" else unit)
    if per_atom:
        return Shown(target, f"{name}/atom", factor, "rmse_per_atom", "mae_per_atom")
    return Shown(target, name, factor, "rmse", "mae")


def number(value: float) -> str:
    """Three digits that matter, without an exponent where that is short.

    Example:
        >>> number(0.012345), number(123.4), number(1.5e-7)
        ('0.0123', '123', '1.5e-07')
    """
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}" if value < 1e6 else f"{value:.2e}"


def errors_table(plan: Plan, metrics: Mapping[str, Metrics], counts: Mapping[str, int]) -> Table:
    """One row per set and target: how many samples, MAE and RMSE with their unit."""
    table = Table(title=f"Errors of {plan.name}", title_justify="left")
    table.add_column("set")
    table.add_column("samples", justify="right")
    table.add_column("target")
    table.add_column("MAE", justify="right")
    table.add_column("RMSE", justify="right")
    table.add_column("unit")
    for name, errors in metrics.items():
        first = True
        for shown in shown_targets(plan):
            if shown.target not in errors:
                continue
            row = errors[shown.target]
            table.add_row(
                name if first else "",
                str(counts[name]) if first else "",
                shown.target,
                number(row[shown.mae] * shown.factor),
                number(row[shown.rmse] * shown.factor),
                shown.unit,
            )
            first = False
        table.add_section()
    return table
