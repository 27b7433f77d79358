"""Models of other programs: their weights, as arrays, become weights of ours."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from equic.runtime.model import Model

from .allegro import allegro_spec, allegro_weights, import_allegro
from .answers import answer_probes
from .deepmd import deepmd_spec, deepmd_weights, import_deepmd
from .dump import read_dump, run_dump
from .mace import import_mace, mace_spec, mace_weights
from .nequip import import_nequip, nequip_spec, nequip_weights
from .pet import import_pet, pet_spec, pet_weights


@dataclass(frozen=True, slots=True)
class Importer:
    """What one program's arrays become: sections of a spec, and the weights of the model it compiles to."""

    spec: Callable[[Mapping[str, Any]], dict[str, Any]]
    fill: Callable[[Mapping[str, Any], Model], None]


def _spec_of_nequip(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return allegro_spec(arrays) if _is_allegro(arrays) else nequip_spec(arrays)


def _fill_of_nequip(arrays: Mapping[str, Any], model: Model) -> None:
    (import_allegro if _is_allegro(arrays) else import_nequip)(arrays, model)


def _is_allegro(arrays: Mapping[str, Any]) -> bool:
    """nequip saves the models of its extension nequip-allegro too."""
    return json.loads(str(arrays.get("config", "{}"))).get("program") == "allegro"


IMPORTERS = {
    "mace": Importer(mace_spec, import_mace),
    "nequip": Importer(_spec_of_nequip, _fill_of_nequip),
    "deepmd": Importer(deepmd_spec, import_deepmd),
}

__all__ = [
    "IMPORTERS",
    "Importer",
    "allegro_spec",
    "allegro_weights",
    "answer_probes",
    "deepmd_spec",
    "deepmd_weights",
    "import_allegro",
    "import_deepmd",
    "import_mace",
    "import_nequip",
    "import_pet",
    "mace_spec",
    "mace_weights",
    "nequip_spec",
    "nequip_weights",
    "pet_spec",
    "pet_weights",
    "read_dump",
    "run_dump",
]
