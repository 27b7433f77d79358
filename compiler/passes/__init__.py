"""Graph to graph, one file per pass; `PASSES` is the order in which they run."""

from collections.abc import Callable

from ..ir.graph import Graph
from .check_dynamics import check_dynamics
from .check_symmetry import check_symmetry
from .check_targets import check_targets
from .context import Context
from .infer_types import infer_types
from .prove_permutation import prove_permutation
from .prune_dead_irreps import prune_dead_irreps
from .relax_symmetry import relax_symmetry

Pass = Callable[[Graph, Context], Graph]

PASSES: tuple[Pass, ...] = (
    relax_symmetry,
    infer_types,
    prove_permutation,
    check_targets,
    check_dynamics,
    check_symmetry,
    prune_dead_irreps,
    infer_types,
    prove_permutation,
)

__all__ = ["PASSES", "Context", "Pass"]
