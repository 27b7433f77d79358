"""Graph to graph, one file per pass; `PASSES` and then `OPTIMISATIONS` are the order in which they run."""

from collections.abc import Callable

from ..ir.graph import Graph
from .check_dynamics import check_dynamics
from .check_smoothness import check_smoothness
from .check_symmetry import check_symmetry
from .check_targets import check_targets
from .context import Context
from .find_radial import check_tabulated, find_radial
from .fold_species_products import fold_species_products
from .infer_types import infer_types
from .merge_linears import merge_linears
from .prove_permutation import prove_permutation
from .prune_dead_irreps import prune_dead_irreps
from .reassociate_first_layer import reassociate_first_layer
from .relax_symmetry import relax_symmetry
from .share_common import share_common

Pass = Callable[[Graph, Context], Graph]

# What a spec means: the graph behind these is the one that is printed, hashed and proven.
PASSES: tuple[Pass, ...] = (
    relax_symmetry,
    infer_types,
    prove_permutation,
    check_targets,
    check_dynamics,
    check_symmetry,
    check_smoothness,
    check_tabulated,
    prune_dead_irreps,
    infer_types,
    prove_permutation,
)

# The same numbers for less: they keep the types of outputs, the weights and their names.
OPTIMISATIONS: tuple[Pass, ...] = (
    share_common,
    fold_species_products,
    reassociate_first_layer,
    merge_linears,
)

__all__ = ["OPTIMISATIONS", "PASSES", "Context", "Pass", "find_radial"]
