"""What another program answered, in the form of the probes that the certificate compares with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from equic.runtime.certify.probes import PROBES_VERSION
from equic.runtime.errors import EquicError
from equic.runtime.plan import Plan

from .bases import precision_of

_TARGETS = ("energy", "forces", "stress")


def answer_probes(arrays: Mapping[str, Any], plan: Plan, *, source: str) -> dict[str, Any]:
    """The peer's structures and answers (`structures/I/...`, `answers/TARGET`) as probes of a plan.

    `source` names the peer. Stress is left out where a structure is periodic along some directions only: such
    cells have no stress that both programs agree to name. `precision` is that of the peer's tables, which bounds
    how closely anyone else can reproduce its answers.

    Raises:
        EquicError: the arrays hold no answers, or atoms that the plan does not know.
    """
    missing = [name for name in _TARGETS[:2] if f"answers/{name}" not in arrays]
    if missing:
        raise EquicError(
            f"the arrays hold no answers for {missing[0]}",
            help="write them with the dump script of the peer: it evaluates the model on structures",
        )
    species = list(plan.system["species"])
    frames: list[dict[str, Any]] = []
    while (key := f"structures/{len(frames)}") + "/numbers" in arrays:
        symbols = [chemical_symbols[int(z)] for z in arrays[f"{key}/numbers"]]
        unknown = [symbol for symbol in symbols if symbol not in species]
        if unknown:
            raise EquicError(f"structure {len(frames)} of the answers has {unknown[0]}, unknown to the model")
        frames.append(
            {
                "species": [species.index(symbol) for symbol in symbols],
                "positions": np.asarray(arrays[f"{key}/positions"], dtype=float).tolist(),
                "cell": np.asarray(arrays[f"{key}/cell"], dtype=float).tolist(),
                "pbc": np.asarray(arrays[f"{key}/pbc"], dtype=bool).tolist(),
            }
        )
    stressed = all(all(frame["pbc"]) or not any(frame["pbc"]) for frame in frames)
    outputs = {
        name: np.asarray(arrays[f"answers/{name}"], dtype=float).tolist()
        for name in _TARGETS
        if f"answers/{name}" in arrays and (name != "stress" or stressed)
    }
    return {
        "version": PROBES_VERSION,
        "source": source,
        "precision": precision_of(arrays),
        "frames": frames,
        "outputs": outputs,
    }
