"""Reports for people: one HTML page that holds everything it shows."""

from .page import write_report
from .runs import Run, read_run

__all__ = ["Run", "read_run", "write_report"]
