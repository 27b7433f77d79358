"""The same structures through several models: where they disagree most."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .predict import predict, predict_states

Array = NDArray[np.float64]

# Of the RMS of an output: rounding, in the lower precision of the two.
TOLERANCES = {"float64": 1e-9, "float32": 1e-4}


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The worst of two models in one output.

    `largest` is the largest difference of a number of the output, in its `unit`, `relative` the same by the
    scale of that output over all frames (its RMS; for energies the standard deviation of E minus the
    isolated-atom energies), and `frame` where it is.
    """

    first: str
    second: str
    output: str
    unit: str
    largest: float
    relative: float
    frame: int
    tolerance: float

    @property
    def holds(self) -> bool:
        """Within the tolerance. (A number that is not finite never is.)"""
        return self.relative <= self.tolerance


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every pair of models in every output that both give."""

    frames: int
    disagreements: tuple[Disagreement, ...]

    @property
    def ok(self) -> bool:
        """Nothing disagrees beyond its tolerance."""
        return all(one.holds for one in self.disagreements)

    @property
    def worst(self) -> Disagreement:
        """The largest relative disagreement."""
        return max(self.disagreements, key=lambda one: math.inf if math.isnan(one.relative) else one.relative)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`; numbers that are not finite as text."""
        rows = [{**asdict(one), "holds": one.holds} for one in self.disagreements]
        plain = [
            {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
            for row in rows
        ]
        return {"ok": self.ok, "frames": self.frames, "disagreements": plain}


def compare(models: Mapping[str, Any], data: Any, *, tolerance: float | None = None) -> Comparison:
    """Run the same structures, or states, through models and find the worst disagreement of every two.

        relative = max |a - b| / scale,  scale = RMS of the output of the first model over all frames

    `models` are a `Model`, an exported or a standalone one, by the names that the result calls them. `data` are
    structures (ASE `Atoms`) or an array of states [M, D]. Every model computes in its own precision; without a
    `tolerance` (relative) a pair of float64 may differ by 1e-9, any other by 1e-4.

    Raises:
        DataError: fewer than two models, models of different kinds, no output in common, or data that does not
            fit them.

    Example:
        >>> from ase.build import molecule
        >>> from equic.runtime.build import build_module
        >>> from equic.runtime.testing.plans import mace_plan
        >>> one, other = (build_module(mace_plan(channels=2, layers=1), seed=seed) for seed in (0, 1))
        >>> compare({"a": one, "b": one}, [molecule("CH4")]).ok, compare({"a": one, "b": other}, [molecule("CH4")]).ok
        (True, False)
    """
    if len(models) < 2:
        raise DataError("a comparison needs at least two models")
    kinds = {name: model.plan.kind for name, model in models.items()}
    if len(set(kinds.values())) > 1:
        raise DataError(f"models of different kinds: {', '.join(f'{n} of {k}' for n, k in kinds.items())}")
    answers = {name: _answers(model, data) for name, model in models.items()}
    found = []
    for a, b in combinations(models, 2):
        exact = all(str(models[name].dtype) == "torch.float64" for name in (a, b))
        allowed = TOLERANCES["float64" if exact else "float32"] if tolerance is None else tolerance
        theirs = {name for one in answers[b] for name in one}
        common = [name for name in max(answers[a], key=len) if name in theirs]
        if not common:
            raise DataError(f"`{a}` and `{b}` have no output in common")
        for output in common:
            scale = _scale(models[a], output, answers[a], data)
            differences = {
                i: float(np.abs(x[output] - y[output]).max(initial=0.0))
                for i, (x, y) in enumerate(zip(answers[a], answers[b], strict=True))
                if output in x and output in y  # only full cells have a stress
            }
            place = int(np.argmax(list(differences.values())))  # NaN, if any, is the worst
            frame, largest = list(differences.items())[place]
            unit = _unit(models[a].plan, output)
            found.append(Disagreement(a, b, output, unit, largest, largest / scale, frame, allowed))
    return Comparison(len(answers[next(iter(models))]), tuple(found))


def _answers(model: Any, data: Any) -> list[dict[str, Array]]:
    """The outputs on each frame, or on each state."""
    if model.plan.kind == "phase_space":
        outputs = predict_states(model, data, device="cpu")
        return [{name: value[i] for name, value in outputs.items()} for i in range(len(data))]
    return predict(model, data, device="cpu")


def _scale(model: Any, output: str, answers: Sequence[Mapping[str, Array]], data: Any) -> float:
    values = [np.atleast_1d(one[output]) for one in answers if output in one]
    energy = model.plan.energy
    if energy is not None and output in (energy, f"node_{energy}"):
        bound = np.array([float(one[energy]) for one in answers]) - _isolated(model, data)
        size = float(bound.std()) or float(np.sqrt(np.mean(bound**2)))
    else:
        size = float(np.sqrt(np.mean(np.square(np.concatenate([value.ravel() for value in values])))))
    return size if size > 0.0 else 1.0


def _isolated(model: Any, data: Any) -> Array:
    """The sum of the isolated-atom energies of each structure, by the model itself: [frames] eV."""
    from ase import Atoms

    symbols = sorted({symbol for atoms in data for symbol in atoms.get_chemical_symbols()})
    alone = predict(model, [Atoms(symbol) for symbol in symbols], device="cpu")
    energy = {symbol: float(one[model.plan.energy]) for symbol, one in zip(symbols, alone, strict=True)}
    return np.array([sum(energy[symbol] for symbol in atoms.get_chemical_symbols()) for atoms in data])


def _unit(plan: Any, output: str) -> str:
    named = plan.energy if output == f"node_{plan.energy}" else output
    return str(plan.outputs[named].unit) if named in plan.outputs else "1"
