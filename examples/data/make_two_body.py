"""Two bodies in the plane under gravity: states and derivatives along near-circular orbits.

Writes `two_body.npz` (40 trajectories) and `two_body_test.npz` (20, from other starts), 50 points each
over t in [0, 20]. Arrays, dimensionless, float64: `z` [M, 8] = (q1, q2, p1, p2), each with its x and y,
`dz` [M, 8], `t` [M], `trajectory` [M] (int64).

    H = (|p1|² + |p2|²)/2 − 1/|q1 − q2|        (masses and the constant of gravity are 1)

Starts as in Hamiltonian neural networks (greydanus2019hamiltonian): the centre of mass rests at the
origin, body 1 is at a point uniform in [0.5, 1.5]², its velocity that of the circular orbit times 1 +
0.05 N(0, 1); body 2 mirrors it. Note the order of the coordinates, which differs from theirs. Solver and
rounding are those of `make_pendulum.py`.

Run: python examples/data/make_two_body.py
"""

from __future__ import annotations

import numpy as np
from files import options, write_arrays
from scipy.integrate import solve_ivp

TRAJECTORIES, POINTS, HORIZON = (40, 20), 50, 20.0
SEED = 5
FILES = ("two_body.npz", "two_body_test.npz")


def derivative(z: np.ndarray) -> np.ndarray:
    """(dH/dp, −dH/dq) of states [..., 8]."""
    separation = z[..., 0:2] - z[..., 2:4]
    pull = separation / np.linalg.norm(separation, axis=-1, keepdims=True) ** 3
    return np.concatenate([z[..., 4:8], -pull, pull], axis=-1)


def start(rng: np.random.Generator) -> np.ndarray:
    q = rng.uniform(0.5, 1.5, size=2)
    p = np.array([-q[1], q[0]]) / (2 * np.linalg.norm(q) ** 1.5) * (1 + 0.05 * rng.normal())
    return np.concatenate([q, -q, p, -p])


def trajectory(file: int, index: int) -> np.ndarray:
    z0 = start(np.random.default_rng([SEED, file, index]))
    times = np.linspace(0, HORIZON, POINTS)
    solution = solve_ivp(
        lambda _, z: derivative(z), (0, HORIZON), z0, method="DOP853", t_eval=times, rtol=1e-12, atol=1e-12
    )
    return np.round(solution.y.T, 9) + 0.0


def main() -> None:
    args = options(__doc__)
    for file, name in enumerate(FILES):
        count = len(range(TRAJECTORIES[file])[: args.frames])
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
