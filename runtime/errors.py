"""Errors that a user of the runtime may meet."""


class EquicError(Exception):
    """A problem that the user can mend: what and where in `message`, how in `help`.

    Example:
        >>> print(EquicError("`a.npz` has no array `dz`", help="its arrays are: z, t"))
        `a.npz` has no array `dz`
        help: its arrays are: z, t
    """

    def __init__(self, message: str, *, help: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help

    def __str__(self) -> str:
        return self.message if self.help is None else f"{self.message}\nhelp: {self.help}"


class DataError(EquicError):
    """Data that does not fit the plan."""


class ArtifactError(EquicError):
    """A file that is not, or no longer, a valid artifact."""


class ExportError(EquicError):
    """A model that could not be exported, or an export that does not fit its inputs."""
