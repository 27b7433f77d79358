"""Models of other programs: their weights, as arrays, become weights of ours."""

from .answers import answer_probes
from .dump import PEERS, read_dump, run_dump
from .mace import import_mace, mace_spec, mace_weights

__all__ = ["PEERS", "answer_probes", "import_mace", "mace_spec", "mace_weights", "read_dump", "run_dump"]
