"""Charged particles in free space: where they are, how they move, and where they will be.

Writes `charged_particles.npz` (1,000 systems of 5 particles) and `charged_particles_test.npz` (300). Arrays, float32,
dimensionless: `positions`, `velocity` and `displacement` [S, 5, 3], `charge` [S, 5], `energy` [S], `forces` [S, 5, 3].

    d²x_i/dt² = sum_j q_i q_j (x_i - x_j) / (|x_i - x_j|² + s²)^(3/2)
    E = sum_(i<j) q_i q_j / sqrt(|x_i - x_j|² + s²)

Masses are 1, charges +1 or -1 at random, s = 0.3. Starts are normal random numbers, of size 1 for positions and 0.5
for velocities, the centre of mass at rest in the origin. `displacement` is x(1) - x(0). The task is that of the
charged particles of Kipf et al. (`kipf2018nri`) as Satorras et al. pose it (`satorras2021egnn`): predict where the
particles will be; here with a softened force, so that close encounters need no special care, and in double precision.

Numbers are rounded to float32 first; forces, energies and displacements belong to the rounded starts.

Run: python examples/data/make_nbody.py
"""

from __future__ import annotations

import numpy as np
from files import options, write_arrays
from scipy.integrate import solve_ivp

SYSTEMS, PARTICLES, HORIZON, SOFTENING = (1000, 300), 5, 1.0, 0.3
SEED = 43
FILES = ("charged_particles.npz", "charged_particles_test.npz")


def forces(x: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Forces on particles at x [n, 3] with charges q [n]."""
    apart = x[:, None] - x[None]
    soft = (apart**2).sum(-1) + SOFTENING**2
    return np.einsum("ij,ijk->ik", q[:, None] * q[None] * soft**-1.5, apart)


def energy(x: np.ndarray, q: np.ndarray) -> float:
    """The potential energy."""
    i, j = np.triu_indices(len(q), 1)
    return float((q[i] * q[j] / np.sqrt(((x[i] - x[j]) ** 2).sum(-1) + SOFTENING**2)).sum())


def start(file: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, velocities and charges of one system, exact in float32."""
    rng = np.random.default_rng([SEED, file, index])
    x, v = rng.normal(size=(PARTICLES, 3)), 0.5 * rng.normal(size=(PARTICLES, 3))
    q = rng.choice([-1.0, 1.0], size=PARTICLES)
    # a binary grid of 1e-4 or so: the same on every machine, and exact in float32
    return *(np.round((one - one.mean(axis=0)) * 2**13) / 2**13 for one in (x, v)), q


def displacement(x: np.ndarray, v: np.ndarray, q: np.ndarray) -> np.ndarray:
    """How far each particle goes until t = 1."""

    def rate(_: float, y: np.ndarray) -> np.ndarray:
        half = y.size // 2
        return np.concatenate([y[half:], forces(y[:half].reshape(-1, 3), q).reshape(-1)])

    y0 = np.concatenate([x.reshape(-1), v.reshape(-1)])
    y = solve_ivp(rate, (0, HORIZON), y0, method="DOP853", rtol=1e-11, atol=1e-11).y[:, -1]
    return np.round(y[: x.size].reshape(x.shape) - x, 6) + 0.0


def main() -> None:
    args = options(__doc__)
    for file, name in enumerate(FILES):
        starts = [start(file, index) for index in range(SYSTEMS[file])[: args.frames]]
        columns = {
            "positions": [x for x, _, _ in starts],
            "velocity": [v for _, v, _ in starts],
            "charge": [q for _, _, q in starts],
            "displacement": [displacement(*one) for one in starts],
            "energy": [round(energy(x, q), 6) for x, _, q in starts],
            "forces": [np.round(forces(x, q), 6) + 0.0 for x, _, q in starts],
        }
        write_arrays(
            args.out / name, **{key: np.array(one, dtype=np.float32) for key, one in columns.items()}
        )


if __name__ == "__main__":
    main()
