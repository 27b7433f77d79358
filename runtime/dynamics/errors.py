"""What goes wrong while atoms move."""

from equic.runtime.errors import EquicError


class DynamicsError(EquicError):
    """A trajectory that cannot go on, or one that was asked for wrongly."""
