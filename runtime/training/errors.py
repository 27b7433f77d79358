"""Training that cannot go on."""

from equic.runtime.errors import EquicError


class TrainingError(EquicError):
    """A run that cannot start, or that stopped because its numbers are no longer numbers."""
