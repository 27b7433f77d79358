"""How a model responds to rotation: equivariance errors and character spectra, at its outputs or at any step."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from equic.runtime.errors import EquicError
from equic.runtime.irreps import Irreps
from equic.runtime.plan import Output
from numpy.typing import NDArray

from .baseline import measure_baseline, rms
from .geometry import Geometry
from .motion import turned_back
from .quadrature import Rule, character_content, rotation_rule, share_of, variance
from .subject import Subject

Array = NDArray[np.float64]

_FRAMES = 3
_ATOMS = 64  # in all frames together, but for one
SIGNIFICANT = 1e-12  # of the whole: less is rounding


@dataclass(frozen=True, slots=True)
class Content:
    """What one block of irreps is made of.

    `errors` are A per factor of the group, relative to `size`, the RMS of a component over group and frames;
    `shares` the parts of the mean square in each irrep of O(3), B over their sum, with `above` for what lies beyond
    the largest l. A block that transforms as it claims has all of it in its own irrep.
    """

    at: str
    block: str
    unit: str
    size: float
    errors: dict[str, float]
    shares: dict[str, float]

    @property
    def strays(self) -> float:
        """The share that is not in the block's own irrep."""
        return max(0.0, 1.0 - self.shares.get(self.irrep, 0.0)) if self.shares else 0.0

    @property
    def irrep(self) -> str:
        """The irrep that the block claims, such as `1o`."""
        return self.block.partition("x")[2] or self.block


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The content of every block at every place that was looked at, and how it was measured."""

    contents: tuple[Content, ...]
    lmax: int
    degree: int
    frames: int
    dtype: str
    group: str = "O(3)"

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        head = {name: getattr(self, name) for name in ("group", "lmax", "degree", "frames", "dtype")}
        return {**head, "contents": [{**asdict(one), "strays": one.strays} for one in self.contents]}


def spectrum(
    model: Any,
    *,
    frames: Iterable[Any] | None = None,
    at: Sequence[str] = (),
    lmax: int = 4,
    seed: int = 0,
    dtype: str | None = None,
) -> Spectrum:
    """Measure A and B of a model over O(3) (of a flow: SO(2)), at its outputs and at the steps named by `at`.

        z(g) = rho(g)^-1 f(g x);   A² = mean |z - mean z|²
        B_(l,p) = the part of g -> f(g x) in irrep (l, p), by its character

    Both by a quadrature that is exact to degree 2 lmax; components of a block, atoms and frames are averaged before
    the root. `frames` as in `certify`, at most 3. `at` needs a model of atoms or particles, not an exported file. In
    float64 unless the file has another dtype. A flow is measured as `phase_spectrum` says.

    Raises:
        EquicError: a flow whose coordinates do not turn, or a step of one; `at` of an exported file, a step that does
            not exist, or values that are no representation of O(3).
    """
    plan = model.plan
    exported = not isinstance(model, torch.nn.Module)
    if exported and at:
        raise EquicError("an exported file shows its outputs alone", help="look inside the artifact (.equic)")
    own = str(model.dtype).removeprefix("torch.")
    subject = Subject(model, dtype or (own if exported else "float64"))
    if plan.kind == "phase_space":
        return _of_a_flow(subject, frames, at, lmax, seed)
    chosen = _chosen(plan, frames, seed)
    rule = rotation_rule(2 * lmax)
    places = [*plan.outputs.items(), *((name, _as_output(plan, name)) for name in at)]
    for name, output in places:
        if Irreps.parse(output.rep).group != "O(3)":
            raise EquicError(f"`{name}` is {output.rep}: no representation of O(3)")
    alone = measure_baseline(subject, chosen).isolated
    turned = {name: _Turned(output, rule) for name, output in places}
    for frame in chosen:
        for sign in (1.0, -1.0):
            copies = [frame.mapped(sign * R) for R in rule.rotations]
            responses = subject.respond(copies).values
            for name, output in places:
                if name == plan.stress and not frame.volume > 0:
                    continue
                values = responses[name] if name in plan.outputs else _at_step(subject, copies, name)
                rows = values.reshape(len(copies), -1, *output.shape)
                turned[name].add(rows - _origin(plan, name, alone[frame.species]), sign)
    contents = [one for name, _ in places for one in turned[name].contents(name, lmax)]
    return Spectrum(tuple(contents), lmax, 2 * lmax, len(chosen), subject.dtype)


def _of_a_flow(subject: Subject, states: Any, at: Sequence[str], lmax: int, seed: int) -> Spectrum:
    from .measure import states_for
    from .phase_spectrum import phase_spectrum

    if at:
        raise EquicError("steps of a flow have no spectrum: its outputs do", help="leave `--at` out")
    return phase_spectrum(subject, states_for(subject.plan, states, seed), lmax=lmax)


class _Turned:
    """The values of one output or step under all group elements, frame after frame."""

    def __init__(self, output: Output, rule: Rule) -> None:
        self.output, self.rule = output, rule
        self.values: dict[float, list[Array]] = {1.0: [], -1.0: []}

    def add(self, values: Array, sign: float) -> None:
        self.values[sign].append(values)

    def contents(self, name: str, lmax: int) -> list[Content]:
        if not self.values[1.0]:
            return []
        plain, reflected = (np.concatenate(self.values[sign], axis=1) for sign in (1.0, -1.0))
        back = [
            _in_irreps(self.output, turned_back(self.output, sign * self.rule.rotations, values))
            for sign, values in ((1.0, plain), (-1.0, reflected))
        ]
        direct = [_in_irreps(self.output, values) for values in (plain, reflected)]
        found = []
        for block in Irreps.parse(self.output.rep):
            z, other = (part[..., block.slice] for part in back)
            u, v = (part[..., block.slice] for part in direct)
            size = rms(np.stack([u, v]))
            found.append(
                Content(
                    name,
                    f"{block.mul}x{block.l}{'e' if block.p > 0 else 'o'}",
                    self.output.unit,
                    size,
                    self._errors(z, other, size),
                    share_of(*character_content(self.rule, u, v, lmax)),
                )
            )
        return found

    def _errors(self, plain: Array, reflected: Array, size: float) -> dict[str, float]:
        if size == 0.0:
            return {"SO(3)": 0.0, "inversion": 0.0}
        (mean, spread), (other, more) = (variance(self.rule.weights, part) for part in (plain, reflected))
        within = float(np.mean(spread + more)) / 2.0
        return {
            "SO(3)": float(np.sqrt(within)) / size,
            "inversion": float(np.sqrt(np.mean(np.square(mean - other)))) / 2.0 / size,
        }


def _in_irreps(output: Output, values: Array) -> Array:
    """Values as rows of irreps: a matrix as its trace, its antisymmetric part and its traceless symmetric part."""
    if output.form != "cartesian":
        return values.reshape(*values.shape[:2], -1)
    flat = values.reshape(*values.shape[:2], 9)
    return flat @ _matrix_irreps(output).T


def _matrix_irreps(output: Output) -> Array:
    """Rows: an orthonormal basis of matrices for each irrep of the output, in their order; [dim, 9]."""
    basis: list[Array] = []
    for block in Irreps.parse(output.rep):
        if block.l == 0:
            basis.append(np.eye(3).reshape(1, 9) / np.sqrt(3.0))
        elif block.l == 1:
            turns = np.zeros((3, 3, 3))
            for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
                turns[a, b, c], turns[a, c, b] = np.sqrt(0.5), -np.sqrt(0.5)
            basis.append(turns.reshape(3, 9))
        else:
            half, third = np.sqrt(0.5), np.sqrt(1.0 / 6.0)
            rows = np.zeros((5, 3, 3))
            for row, (a, b) in enumerate(((0, 1), (1, 2), (0, 2))):
                rows[row, a, b] = rows[row, b, a] = half
            rows[3] = np.diag([half, -half, 0.0])
            rows[4] = third * np.diag([-1.0, -1.0, 2.0])
            basis.append(rows.reshape(5, 9))
    return np.concatenate(basis)


def _origin(plan: Any, name: str, isolated: Array) -> Array | float:
    """Energies count from those of isolated atoms: their own origin means nothing."""
    if name == plan.energy:
        return float(isolated.sum())
    return isolated if name == f"node_{plan.energy}" and name in plan.outputs else 0.0


def _as_output(plan: Any, name: str) -> Output:
    step = plan.step(name)
    return Output(name, step.index, step.rep, step.unit, "irreps", False)


def _at_step(subject: Subject, copies: Sequence[Geometry], name: str) -> Array:
    """The value of a step on copies of one frame: every copy has the same rows, in the same order."""
    parts = []
    for batch in subject.batches(copies):
        with torch.no_grad():
            parts.append(subject.call.intermediate(batch.inputs, name).double().cpu().numpy())
    return np.concatenate(parts)


def _chosen(plan: Any, frames: Iterable[Any] | None, seed: int) -> list[Geometry]:
    """At most three frames, small ones first, and a cell among them where there is a stress."""
    from .measure import structures_for

    found = sorted(structures_for(plan, frames, seed), key=len)
    if plan.stress is not None:
        found.sort(key=lambda one: one.volume == 0.0)
    chosen, room = found[:1], _ATOMS - len(found[0])
    for one in found[1:]:
        if len(chosen) < _FRAMES and len(one) <= room:
            chosen.append(one)
            room -= len(one)
    return chosen
