"""equic: declarative specs in, symmetry- and physics-constrained torch models out.

    import equic
    run = equic.train("spec.yaml")
    model = equic.load(run.artifact)
    model.predict(atoms)

Nothing heavy is imported before it is used.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["check", "compare", "compile", "export", "load", "train", "tune", "verify"]

if TYPE_CHECKING:
    from .api import check, compare, compile, export, load, train, tune, verify


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module `equic` has no `{name}`")
