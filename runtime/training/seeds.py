"""Several runs that differ in their seed: the mean of every error, and its standard deviation between them."""

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from equic.runtime.plan import Plan
from rich.console import Console
from rich.table import Table

from .report import number, shown_targets
from .state import write_json

if TYPE_CHECKING:
    from .run import TrainingResult


def over_seeds(results: Sequence["TrainingResult"]) -> dict[str, Any]:
    """{set: {target: {error: {"mean", "std", "values"}}}} over the runs that were finished.

    The standard deviation is that of a sample (n − 1); one run has none.
    """
    done = [result for result in results if result.metrics]
    found: dict[str, Any] = {}
    for result in done:
        for name, targets in result.metrics.items():
            for target, row in targets.items():
                for error, value in row.items():
                    values = found.setdefault(name, {}).setdefault(target, {}).setdefault(error, [])
                    values.append(value)
    return {
        name: {
            target: {
                error: {
                    "mean": statistics.fmean(values),
                    "std": statistics.stdev(values) if len(values) > 1 else None,
                    "values": values,
                }
                for error, values in row.items()
            }
            for target, row in targets.items()
        }
        for name, targets in found.items()
    }


def summarize(plan: Plan, results: Sequence["TrainingResult"], *, progress: bool = True) -> None:
    """Print the table, and write it as `seeds-N.json` beside the first run, N being its number."""
    table = over_seeds(results)
    first = results[0].directory
    write_json(
        first.parent / f"seeds-{first.name}.json",
        {"runs": [str(result.directory) for result in results], "errors": table},
    )
    if not progress:
        return
    shown = Table(title=f"Errors of {plan.name} over {len(results)} seeds", title_justify="left")
    for head in ("set", "target", "MAE", "RMSE", "unit"):
        shown.add_column(head, justify="right" if head in ("MAE", "RMSE") else "left")
    for name, targets in table.items():
        for one in shown_targets(plan):
            if one.target in targets:
                row = targets[one.target]
                cells = [_cell(row[error], one.factor) for error in (one.mae, one.rmse)]
                shown.add_row(name, one.target, *cells, one.unit)
    Console(stderr=True).print(shown)


def _cell(entry: dict[str, Any], factor: float) -> str:
    mean = number(entry["mean"] * factor)
    return mean if entry["std"] is None else f"{mean} ± {number(entry['std'] * factor)}"
