"""A pendulum without friction: states and their derivatives along trajectories.

Writes `pendulum.npz` and `pendulum_test.npz`: 25 trajectories each, 45 points over t in [0, 3], from
different starts. Arrays, dimensionless, float64: `z` [M, 2] = (q, p), `dz` [M, 2] = (q̇, ṗ), `t` [M],
`trajectory` [M] (int64).

    H = 3 (1 − cos q) + p²        q̇ = 2 p        ṗ = −3 sin q

Starts have a random direction in the (q, p) plane and a radius uniform in [1.3, 2.3], as in Hamiltonian
neural networks (greydanus2019hamiltonian), whose data this is but for one thing: there is no noise. The
trajectories come from an order 8 Runge-Kutta solver (relative and absolute tolerance 1e-12); states are
rounded to 1e-9 and the derivatives computed from the rounded states, so they belong to them to the last
bit.

Run: python examples/data/make_pendulum.py
"""

from __future__ import annotations

import numpy as np
from files import options, write_arrays
from scipy.integrate import solve_ivp

TRAJECTORIES, POINTS, HORIZON = 25, 45, 3.0
SEED = 4
FILES = ("pendulum.npz", "pendulum_test.npz")


def derivative(z: np.ndarray) -> np.ndarray:
    """(dH/dp, −dH/dq) of states [..., 2]."""
    q, p = z[..., 0], z[..., 1]
    return np.stack([2 * p, -3 * np.sin(q)], axis=-1)


def start(rng: np.random.Generator) -> np.ndarray:
    direction = rng.uniform(-1, 1, size=2)
    return direction / np.linalg.norm(direction) * rng.uniform(1.3, 2.3)


def trajectory(file: int, index: int) -> np.ndarray:
    z0 = start(np.random.default_rng([SEED, file, index]))
    times = np.linspace(0, HORIZON, POINTS)
    solution = solve_ivp(
        lambda _, z: derivative(z), (0, HORIZON), z0, method="DOP853", t_eval=times, rtol=1e-12, atol=1e-12
    )
    return np.round(solution.y.T, 9) + 0.0


def main() -> None:
    args = options(__doc__)
    count = len(range(TRAJECTORIES)[: args.frames])
    for file, name in enumerate(FILES):
        z = np.concatenate([trajectory(file, index) for index in range(count)])
        write_arrays(
            args.out / name,
            z=z,
            dz=derivative(z),
            t=np.tile(np.linspace(0, HORIZON, POINTS), count),
            trajectory=np.repeat(np.arange(count), POINTS),
        )


if __name__ == "__main__":
    main()
