"""Forces and stress as derivatives of the energy, by finite differences."""

import numpy as np
from numpy.typing import NDArray

from .baseline import Baseline, rms
from .certificate import Item
from .judge import Rule, demanded, judge, not_applicable, unclaimed
from .stencil import NODES, STEPS, best_step, derivative
from .subject import Response

Array = NDArray[np.float64]

FORCES, JACOBIAN, STRESS = "forces against differences", "symmetric Jacobian", "stress against strain"

_DIRECTIONS = 8  # random directions per frame: enough to see an error in one atom's force
_SMALL = 27  # coordinates up to which every single one is tried instead


def derivative_items(baseline: Baseline, rng: np.random.Generator) -> list[Item]:
    """Forces against differences of the energy, and whether their own Jacobian is symmetric.

        F·u = -dE/du;  u^T J v = v^T J u,  J = dF/dx

    Both are RMS errors over directions u, v: of a force component relative to the RMS force, and of
    V^T J V - its transpose relative to its own size.
    """
    dtype = baseline.subject.dtype
    name = baseline.subject.plan.forces
    if name not in baseline.scales:
        return [not_applicable(item, dtype, "the model has no forces") for item in (FORCES, JACOBIAN)]
    rule = _gradient_rule(baseline, name)
    directions = [_directions(len(frame), rng) for frame in baseline.frames]
    errors: dict[float, tuple[float, float]] = {}
    for step in STEPS[dtype]:
        errors[step] = _force_errors(baseline, directions, step)
    force, force_step = best_step(lambda step: errors[step][0], STEPS[dtype])
    twist, twist_step = best_step(lambda step: errors[step][1], STEPS[dtype])
    how = f"along {sum(map(len, directions))} directions, fourth-order differences of step"
    return [
        judge(
            FORCES,
            dtype,
            force,
            rule,
            measure=f"F + dE/dx {how} {force_step:g} Å, {baseline.words[name]}",
            rounding=_difference_rounding(baseline, force_step),
        ),
        not_applicable(JACOBIAN, dtype, "the forces do not change as atoms move")
        if np.isposinf(twist)
        else judge(JACOBIAN, dtype, twist, rule, measure=f"J - J^T beside J = dF/dx {how} {twist_step:g} Å"),
    ]


def response_items(baseline: Baseline, rng: np.random.Generator) -> list[Item]:
    """Every derivative of the energy by an input, against differences along random directions of that input.

    y·u = s dE/du,  u a unit direction of all components of the input, s the scale of the derivative
    """
    plan = baseline.subject.plan
    known = {one["name"] for one in plan.system["inputs"]}
    items = []
    for target, output in plan.outputs.items():
        step = plan.step(output.step)
        if step.layer == "grad" and step.params["wrt"] in known and target in baseline.scales:
            items.append(
                _response_item(baseline, target, step.params["wrt"], float(step.params["scale"]), rng)
            )
    return items


def _response_item(
    baseline: Baseline, target: str, name: str, scale: float, rng: np.random.Generator
) -> Item:
    dtype = baseline.subject.dtype
    units = []
    for frame in baseline.frames:
        u = rng.normal(size=(_DIRECTIONS, *frame.inputs[name].value.shape))
        units.append(u / np.linalg.norm(u, axis=(1, 2), keepdims=True))
    projected = np.array(
        [
            np.einsum("krd,rd->k", u, np.reshape(baseline.response.at(target, i), u.shape[1:]))
            for i, u in enumerate(units)
        ]
    )

    def error(step: float) -> float:
        moved = [
            frame.with_input(name, frame.inputs[name].value + node * step * one)
            for node in NODES
            for frame, u in zip(baseline.frames, units, strict=True)
            for one in u
        ]
        energy = baseline.subject.respond(moved).energy
        assert energy is not None
        slopes = derivative(energy.reshape(4, len(baseline.frames), _DIRECTIONS), step)
        return rms(projected - scale * slopes) / baseline.scales[target]

    value, step = best_step(error, STEPS[dtype])
    energy = plan_energy(baseline)
    return judge(
        f"{target} against differences",
        dtype,
        value,
        demanded("differences", dtype),
        measure=f"{target} - {scale:g} dE/d({name}) along {len(units) * _DIRECTIONS} directions, fourth-order "
        f"differences of step {step:g}, {baseline.words[target]}",
        rounding=baseline.rounding(energy) * baseline.scales[energy] / step / baseline.scales[target],
    )


def plan_energy(baseline: Baseline) -> str:
    """The target that derivatives are of."""
    energy = baseline.subject.plan.energy
    assert energy is not None
    return str(energy)


def stress_item(baseline: Baseline) -> Item:
    """Stress against differences of the energy under six symmetric strains of cell and positions.

    sigma_ab = (1/V) dE/d eps_ab,  x -> (1 + eps) x
    """
    dtype = baseline.subject.dtype
    name = baseline.subject.plan.stress
    if name is None:
        return not_applicable(STRESS, dtype, "the model has no stress")
    frames = [frame for frame in baseline.frames if frame.volume > 0]
    if not frames:
        return not_applicable(STRESS, dtype, "no frame has a cell")
    assert baseline.response.stress is not None
    stress = baseline.response.stress[[i for i, frame in enumerate(baseline.frames) if frame.volume > 0]]
    strains = _strains()

    def error(step: float) -> float:
        strained = [
            frame.mapped(np.eye(3) + step * node * strain)
            for node in NODES
            for frame in frames
            for strain in strains
        ]
        energy = baseline.subject.respond(strained).energy
        assert energy is not None
        slopes = derivative(energy.reshape(4, len(frames), len(strains)), step)
        slopes /= np.array([[frame.volume] for frame in frames])
        difference = slopes - np.einsum("fab,sab->fs", stress, strains)
        return rms(difference) / baseline.scales[name]

    value, step = best_step(error, STEPS[dtype])
    return judge(
        STRESS,
        dtype,
        value,
        _gradient_rule(baseline, name),
        measure=f"stress - dE/d(strain)/V, six strains, step {step:g}, {baseline.words[name]}",
    )


def _gradient_rule(baseline: Baseline, target: str) -> Rule:
    """Demanded where the plan derives the target from the energy."""
    plan = baseline.subject.plan
    if plan.step(plan.outputs[target].step).layer == "grad":
        return demanded("differences", baseline.subject.dtype)
    return unclaimed(f"the {target} are not derived from the energy")


def _difference_rounding(baseline: Baseline, step: float) -> float:
    """What rounding the energies gives a force from differences, relative."""
    plan = baseline.subject.plan
    return baseline.rounding(plan.energy) * baseline.scales[plan.energy] / step / baseline.scales[plan.forces]


def _directions(atoms: int, rng: np.random.Generator) -> Array:
    """Displacements of all atoms, [K, n, 3], orthonormal: each coordinate where they are few, else random."""
    if 3 * atoms <= _SMALL:
        return np.eye(3 * atoms).reshape(-1, atoms, 3)
    random = np.linalg.qr(rng.normal(size=(3 * atoms, _DIRECTIONS)))[0]
    return random.T.reshape(_DIRECTIONS, atoms, 3)


def _force_errors(baseline: Baseline, directions: list[Array], step: float) -> tuple[float, float]:
    """The two relative errors of `derivative_items` at one step; the second is infinite where J is zero."""
    # A unit direction spread over n atoms moves each by 1/sqrt(n): give every atom about `step`.
    lengths = [step / float(np.linalg.norm(units, axis=2).max()) for units in directions]
    displaced = [
        frame.moved(node * length * unit)
        for frame, units, length in zip(baseline.frames, directions, lengths, strict=True)
        for node in NODES
        for unit in units
    ]
    response = baseline.subject.respond(displaced)
    name = baseline.subject.plan.forces
    assert response.energy is not None
    misfits, twists, sizes, start = [], [], [], 0
    for i, (frame, units, length) in enumerate(zip(baseline.frames, directions, lengths, strict=True)):
        K, n = len(units), len(frame)
        stop = start + 4 * K
        energy = response.energy[start:stop].reshape(4, K)
        projected = np.einsum("kna,na->k", units, baseline.response.at(name, i))
        misfits.append(projected + derivative(energy, length))
        forces = _slice(response, start, stop).reshape(4, K, n, 3)
        block = np.einsum("kna,jna->kj", units, derivative(forces, length))
        twists.append(np.square(block - block.T).sum())
        sizes.append(np.square(block).sum())
        start = stop
    misfit = rms(np.concatenate(misfits)) / baseline.scales[name]
    total = float(np.sqrt(np.sum(sizes)))
    if total == 0.0:
        return misfit, float("inf")
    return misfit, float(np.sqrt(np.sum(twists))) / total


def _slice(response: Response, start: int, stop: int) -> Array:
    assert response.forces is not None
    return response.forces[response.offsets[start] : response.offsets[stop]]


def _strains() -> Array:
    """Six symmetric strains, orthonormal: [6, 3, 3]."""
    found = []
    for a in range(3):
        for b in range(a, 3):
            strain = np.zeros((3, 3))
            strain[a, b] = strain[b, a] = 1.0 if a == b else np.sqrt(0.5)
            found.append(strain)
    return np.array(found)
