"""What a run says while it runs: a line per group of epochs, and in a terminal a bar."""

import math
import time
from collections.abc import Mapping
from typing import Any

from equic.runtime.plan import Plan
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from .report import number, shown_targets

LINES = 20  # about how many a whole run prints
SILENCE = 60.0  # seconds after which a line is due whatever the group
REFRESH = 0.2  # seconds between two looks of the bar


class Reporter:
    """Prints rows of the history, thinned to about `LINES` lines; nothing at all when not `enabled`.

    Errors are RMSE on the validation set (on the training batches where there is none); `*` marks the best.
    """

    def __init__(self, plan: Plan, console: Console, *, enabled: bool, validated: bool) -> None:
        terms = plan.train["loss"] if plan.train else {}
        self._shown = [shown for shown in shown_targets(plan) if shown.target in terms]
        self._console = console
        self._enabled = enabled
        self._validated = validated
        self._last_line = -math.inf
        self._last_look = -math.inf
        self._bar: Progress | None = None
        self._started = False

    def say(self, text: str) -> None:
        """One line of plain text."""
        if self._enabled:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def start(self, step: int, total: int) -> None:
        """The head of the columns, and the bar."""
        if not self._enabled:
            return
        what = "validation RMSE" if self._validated else "training RMSE"
        heads = [f"{'epoch':>10} {'loss':>10}"]
        heads += [f"{f'{shown.target} {shown.unit}'.strip():>18}" for shown in self._shown]
        heads += [f"{'rate':>9} {'left':>8}"]
        self.say(" ".join(heads) + f"   ({what})")
        if self._console.is_terminal:
            columns = (TextColumn("step {task.completed:.0f}/{task.total:.0f}"), BarColumn())
            self._bar = Progress(*columns, console=self._console, transient=True, auto_refresh=False)
            self._bar.add_task("steps", completed=step, total=total)
            self._bar.start()

    def tick(self, step: int, total: int) -> None:
        """A step is done; cheap enough for every one."""
        if self._bar is None or time.monotonic() - self._last_look < REFRESH:
            return
        self._last_look = time.monotonic()
        self._bar.update(self._bar.task_ids[0], completed=step, total=total, refresh=True)

    def row(self, row: Mapping[str, Any], *, place: int, of: int, best: bool, left: float) -> None:
        """Round `place` of `of` is over; `left` seconds remain."""
        if not self._enabled:
            return
        group = max(1, math.ceil(of / LINES))
        due = place % group == 0 or place in (1, of) or time.monotonic() - self._last_line > SILENCE
        if not due:
            return
        self._last_line = time.monotonic()
        epoch = row["epoch"]
        shown = str(epoch) if isinstance(epoch, int) else f"{epoch:.2f}"
        parts = [f"{shown:>10} {number(row['loss']):>10}"]
        parts += [f"{self._error(row, shown.target, shown.rmse, shown.factor):>18}" for shown in self._shown]
        parts += [f"{row['rate']:>9.2g} {duration(left):>8}"]
        self.say(" ".join(parts) + (" *" if best else ""))

    def _error(self, row: Mapping[str, Any], target: str, name: str, factor: float) -> str:
        if self._validated:
            value = row.get(f"validation_{target}_{name}")
        else:
            value = math.sqrt(row[f"loss_{target}"])
        return "-" if value is None else number(value * factor)

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def duration(seconds: float) -> str:
    """A time span in two units.

    Example:
        >>> duration(0.4), duration(61), duration(7322)
        ('0s', '1m01s', '2h02m')
    """
    if not math.isfinite(seconds):
        return "?"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
