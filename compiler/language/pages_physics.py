"""Pages of the P and D codes: the structure of the physics, and data."""

from .codes import Code, Page

PAGES: dict[Code, Page] = {
    Code.NOT_SEPARABLE: Page(
        "the Hamiltonian is not separable",
        "Leapfrog alternates kicks and drifts, which needs H = T(p) + V(q): every term of the energy reads either "
        "coordinates or momenta. A single network over both is not of that form.",
        "system: {kind: phase_space, coordinates: {q: 1}}\n"
        "constraints: {hamiltonian: {separable: false, integrator: leapfrog}}\n"
        "model: {architecture: hnn}",
        "Write `separable: true`, which gives T and V networks of their own, or choose `integrator: rk4`.",
    ),
    Code.FORCES_WITHOUT_ENERGY: Page(
        "a gradient of something that is not predicted",
        "Forces and stresses are derivatives of a predicted energy, which makes them conservative. The target "
        "named in `gradient_of` does not exist.",
        "targets: {forces: {gradient_of: enthalpy, wrt: positions, scale: -1}}",
        "Declare the energy: `energy: {per: system, rep: 0e, unit: eV}`.",
    ),
    Code.BAD_COORDINATES: Page(
        "coordinates do not fit the system",
        "The representation or the number of the coordinates does not fit the declared symmetry or the model: "
        "under SO(2), say, every coordinate must state how it rotates.",
        "system: {kind: phase_space, coordinates: {q: 2}}\nsymmetry: {SO(2): hard}\nmodel: {architecture: hnn}",
        "Write irreps: `1x1` is a vector in the plane, `1x0` a scalar.",
    ),
    Code.BAD_MASSES: Page(
        "masses do not fit the coordinates",
        "A kinetic energy with known masses needs one positive mass for every coordinate, in their order.",
        "system: {kind: phase_space, coordinates: {q1: 1x1, q2: 1x1}}\n"
        "constraints: {hamiltonian: {separable: true, masses: [1]}}\n"
        "model: {architecture: pairwise_energy}",
        "Give as many masses as there are coordinates.",
    ),
}
