"""Small training problems: plans that train in seconds, and data whose answers are known."""

from typing import Any

import numpy as np
import torch
from ase import Atoms
from equic.runtime.build import Model
from equic.runtime.data import ArraySet, Frame, frame_from_atoms
from equic.runtime.plan import Plan

from .plans import mace_plan


def changed(plan: Plan, **train_settings: Any) -> Plan:
    """The plan with other training settings."""
    data = plan.to_json()
    data["train"].update(train_settings)
    return Plan.from_json(data)


def pendulum(count: int, seed: int = 0) -> ArraySet:
    """States (q, p) and their derivatives (p, −sin q)."""
    state = np.random.default_rng(seed).uniform(-1.5, 1.5, (count, 2))
    return ArraySet(state, {"derivatives": np.stack((state[:, 1], -np.sin(state[:, 0])), axis=1)})


def small_mace(**train_settings: Any) -> Plan:
    """One layer, four channels, H and O."""
    plan = mace_plan(
        channels=4, lmax=1, correlation=2, layers=1, species=("H", "O"), stress=False, widths=(8,)
    )
    return changed(plan, **train_settings)


def morse_frames(plan: Plan, count: int, seed: int = 0) -> list[Frame]:
    """Clusters of four atoms with a Morse energy, E = Σ_pairs (1 − exp(−(r − 1.5)))², and a constant per atom."""
    rng = np.random.default_rng(seed)
    corners = np.array([[0, 0, 0], [1.4, 0, 0], [0, 1.5, 0], [0, 0, 1.6]])
    frames = []
    for number in range(count):
        x = corners + rng.normal(0, 0.1, (4, 3))
        vectors = x[:, None] - x[None]
        r = np.linalg.norm(vectors, axis=-1) + np.eye(4)
        decay = np.exp(-(r - 1.5)) * (1 - np.eye(4))
        energy = 0.5 * ((1 - decay) ** 2 * (1 - np.eye(4))).sum() - 100.0
        forces = -(2 * (1 - decay) * decay / r)[..., None] * vectors
        labels = {"energy": np.array(energy), "forces": forces.sum(1)}
        frames.append(frame_from_atoms(Atoms("HOHO", x), plan, source=f"morse.xyz:{number}", labels=labels))
    return frames


def weights_of(model: Model) -> list[torch.Tensor]:
    """Copies of all parameters."""
    return [p.detach().clone() for p in model.parameters()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    """Equal to the last bit."""
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
