"""The model under test, in one dtype, as a function from structures or states to numpy arrays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from equic.runtime.errors import EquicError
from equic.runtime.sizes import pair_numbers
from numpy.typing import NDArray

from .geometry import Batch, Geometry, collate

Array = NDArray[np.float64]

DTYPES: dict[str, torch.dtype] = {"float64": torch.float64, "float32": torch.float32}

# Edge features held at once; larger sets of structures are cut into several calls.
_EDGE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Response:
    """What a model says about several structures, in float64.

    `values`: target → [S, ...] per structure, [N, ...] per atom; `offsets`: where each structure's atoms start
    (with the end last). `energy` [S], `forces` [N, 3] and `stress` [S, 3, 3] are those of the plan's targets with
    these roles, None where it has none.
    """

    plan: Any
    values: Mapping[str, Array]
    offsets: NDArray[np.int64]

    @property
    def energy(self) -> Array | None:
        return self.values.get(self.plan.energy)

    @property
    def forces(self) -> Array | None:
        return self.values.get(self.plan.forces)

    @property
    def stress(self) -> Array | None:
        return self.values.get(self.plan.stress)

    def at(self, target: str, index: int) -> Array:
        """A target of one structure: its value, or its rows of values per atom."""
        value = self.values[target]
        if self.plan.outputs[target].index == "node":
            return value[self.offsets[index] : self.offsets[index + 1]]
        return value[index]

    def of(self, chosen: Sequence[int]) -> "Response":
        """The answers on some of the structures, in this order."""
        joined = {
            target: np.concatenate([self.at(target, i) for i in chosen])
            if self.plan.outputs[target].index == "node"
            else self.values[target][list(chosen)]
            for target in self.values
        }
        counts = np.diff(self.offsets)[list(chosen)]
        return Response(self.plan, joined, np.cumsum([0, *counts]))


def dtype_of(model: Any) -> str:
    """The name of the dtype that a model or an exported file computes in.

    Raises:
        EquicError: it is none that a certificate knows.
    """
    name = str(model.dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise EquicError(f"a certificate is measured in {' or '.join(DTYPES)}, not in {name}")
    return name


class Subject:
    """A model in one dtype.

    A `Model` asked for in another dtype than its own is built anew with its weights cast, so that constant
    tables have the full precision; anything else (an exported file) has its own dtype only.

    Raises:
        EquicError: a dtype that the model cannot be had in.
    """

    def __init__(self, model: Any, dtype: str, device: str | torch.device = "cpu") -> None:
        if dtype not in DTYPES:
            raise EquicError(f"a certificate is measured in {' or '.join(DTYPES)}, not in `{dtype}`")
        self.plan = model.plan
        self.dtype = dtype
        self.device = torch.device(device)
        self.call = _brought_to(model, dtype, self.device)

    @property
    def outputs(self) -> frozenset[str]:
        """The targets of the plan."""
        return frozenset(self.plan.outputs)

    # -- atoms ---------------------------------------------------------------------------------------------

    def respond(self, geometries: Sequence[Geometry]) -> Response:
        """The targets of structures, in as few calls as memory allows."""
        parts = [self._respond(batch) for batch in self.batches(geometries)]
        values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return Response(self.plan, values, np.cumsum([0, *map(len, geometries)]))

    def _respond(self, batch: Batch) -> dict[str, Array]:
        with torch.no_grad():
            out = self.call(batch.inputs)
        extra = f"node_{self.plan.energy}"  # the terms of the energy
        return {
            name: out[name].detach().double().cpu().numpy()
            for name in self.plan.outputs
            if name in out and name != extra
        }

    def batches(self, geometries: Sequence[Geometry]) -> Iterator[Batch]:
        """Structures as inputs of the model, as many at a time as memory allows."""
        budget, waiting = float(_EDGE_BYTES), list[Geometry]()
        for item in geometries:
            cost = self.edge_bytes(item)
            if waiting and cost > budget:
                yield collate(waiting, self.plan.system, self.device)
                budget, waiting = float(_EDGE_BYTES), []
            waiting.append(item)
            budget -= cost
        if waiting:
            yield collate(waiting, self.plan.system, self.device)

    def edge_bytes(self, item: Geometry) -> float:
        """About how many bytes the features of edges, pairs of edges and tokens take: what a call costs."""
        edges = _edge_estimate(item, self.plan.system)
        return 8 * sum(pair_numbers(self.plan, edges, len(item)))

    # -- phase space ---------------------------------------------------------------------------------------

    def flow(self, states: Array) -> Array:
        """The derivatives at states: [*, D] -> [*, D]."""
        return self._at(states)["derivatives"].reshape(states.shape)

    def hamiltonian(self, states: Array) -> Array:
        """H at states: [*, D] -> [*]."""
        return self._at(states)["hamiltonian"].reshape(states.shape[:-1])

    def _at(self, states: Array) -> dict[str, Array]:
        flat = torch.as_tensor(states.reshape(-1, states.shape[-1]), dtype=DTYPES[self.dtype])
        with torch.no_grad():
            out = self.call({"state": flat.to(self.device)})
        return {name: value.detach().double().cpu().numpy() for name, value in out.items()}

    @property
    def has_hamiltonian(self) -> bool:
        """The model has a scalar H of its own."""
        return "hamiltonian" in self._at(np.zeros((1, int(self.plan.system["dim"]))))


def _edge_estimate(item: Geometry, system: Mapping[str, Any]) -> float:
    """About how many pairs see each other."""
    count = len(item)
    around = float(count - 1)
    if item.periodic:
        sphere = 4.0 / 3.0 * np.pi * float(system["cutoff"]) ** 3
        around = max(around, count * sphere / max(item.volume, 1e-9))
    return count * (min(around, system["pairs"]) if isinstance(system["pairs"], int) else around)


def _brought_to(model: Any, dtype: str, device: torch.device) -> Any:
    """The model in a dtype and on a device, itself where it is there already; the given one is never moved."""
    if not isinstance(model, torch.nn.Module):
        if dtype_of(model) == dtype:
            return model
        raise EquicError(
            f"an exported file has one dtype, {dtype_of(model)}, and cannot be measured in {dtype}",
            help=f"export it again with `dtype: {dtype}`",
        )
    from equic.runtime.export.trace import recast

    here = {value.device for value in model.state_dict().values()}
    if dtype_of(model) == dtype and here <= {device}:
        return model
    return recast(model, DTYPES[dtype], device)
