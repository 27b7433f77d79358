"""Models of other programs: their weights, as arrays, become weights of ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from equic.runtime.model import Model

from .answers import answer_probes
from .deepmd import deepmd_spec, deepmd_weights, import_deepmd
from .dump import read_dump, run_dump
from .mace import import_mace, mace_spec, mace_weights
from .nequip import import_nequip, nequip_spec, nequip_weights


@dataclass(frozen=True, slots=True)
class Importer:
    """What one program's arrays become: sections of a spec, and the weights of the model it compiles to."""

    spec: Callable[[Mapping[str, Any]], dict[str, Any]]
    fill: Callable[[Mapping[str, Any], Model], None]


IMPORTERS = {
    "mace": Importer(mace_spec, import_mace),
    "nequip": Importer(nequip_spec, import_nequip),
    "deepmd": Importer(deepmd_spec, import_deepmd),
}

__all__ = [
    "IMPORTERS",
    "Importer",
    "answer_probes",
    "deepmd_spec",
    "deepmd_weights",
    "import_deepmd",
    "import_mace",
    "import_nequip",
    "mace_spec",
    "mace_weights",
    "nequip_spec",
    "nequip_weights",
    "read_dump",
    "run_dump",
]
