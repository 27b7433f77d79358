"""What can go wrong in a search."""

from ..errors import EquicError


class TuningError(EquicError):
    """A search that cannot start, cannot continue, or in which nothing worked."""


class TrialTaken(Exception):
    """This trial was given up for lost and is run by another worker: end it quietly.

    Raised by `TrialContext.report` in a worker that was only slow (a sleeping laptop, a stopped process). An
    objective should let it pass.
    """
