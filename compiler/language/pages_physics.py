"""Pages of the P codes: the structure of the physics."""

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
    Code.NO_HAMILTONIAN: Page(
        "a flow has no Hamiltonian",
        "`flow_of: hamiltonian` takes the derivatives of an energy H, and `constraints: {hamiltonian: ...}` says what "
        "form it has and how it is integrated.",
        "constraints: {hamiltonian: null}\n"
        "system: {kind: phase_space, coordinates: {q: 1}}\n"
        "model: {architecture: hnn}",
        "Add the constraint, such as `hamiltonian: {separable: false, integrator: rk4}`.",
    ),
    Code.FLOW_NOT_ASKED: Page(
        "a Hamiltonian is constrained, but nothing flows from it",
        "The constraint would have no effect: no target is declared as the flow of the Hamiltonian, so the model "
        "predicts derivatives directly and conserves nothing.",
        "system: {kind: phase_space, coordinates: {q: 1}}\n"
        "targets: {derivatives: {flow_of: null}}\n"
        "model: {architecture: mlp}",
        "Write `derivatives: {flow_of: hamiltonian}`, or remove the constraint.",
    ),
    Code.HAMILTONIAN_OF_ATOMS: Page(
        "atoms take no Hamiltonian constraint",
        "The kinetic energy of atoms is known, and forces that are gradients of a learned energy are conservative "
        "already. The constraint is for phase spaces.",
        "constraints: {hamiltonian: {separable: true}}",
        "Remove it, and declare forces with `gradient_of: energy`.",
    ),
    Code.GRADIENT_OF_GRADIENT: Page(
        "a gradient of a gradient",
        "Only the energy has gradients in this version: forces by positions, stress by strain. Force constants are "
        "second derivatives.",
        "targets: {energy: {}, forces: {gradient_of: energy, wrt: positions, scale: -1}, "
        "hessian: {gradient_of: forces, wrt: positions}}",
        "Declare gradients of the energy alone. ASE computes force constants from a calculator.",
    ),
    Code.WRONG_DERIVATIVE: Page(
        "this kind of system has another derivative",
        "Atoms have an energy whose gradients are forces and stress. A phase space has a Hamiltonian whose flow holds "
        "velocities and forces at once, and has no strain.",
        "system: {kind: phase_space, coordinates: {q: 1}}\n"
        "targets: {stress: {gradient_of: hamiltonian, wrt: strain}}\n"
        "model: {architecture: hnn}",
        "Use `gradient_of` for atoms, and `flow_of` for a phase space.",
    ),
    Code.FORCE_SIGN: Page(
        "forces point up the energy",
        "A force is minus the gradient of the energy. With a positive scale (1 where none is written) the model would "
        "be trained to the opposite of the labels.",
        "targets: {forces: {gradient_of: energy, wrt: positions}}",
        "Write `scale: -1`.",
    ),
    Code.MASSES_MISSING: Page(
        "a kinetic energy needs masses",
        "The term sum p^2 / 2m is known once the masses are, and this model has it.",
        "system: {kind: phase_space, coordinates: {q1: 2, q2: 2}}\nmodel: {architecture: pairwise_energy}",
        "Write one mass per coordinate under `constraints.hamiltonian.masses`.",
    ),
    Code.TERM_TWICE: Page(
        "a term of the energy stands twice",
        "All blocks are added up, so a kinetic energy or a pair potential that stands twice counts twice.",
        "system: {kind: phase_space, coordinates: {q: 1}}\n"
        "constraints: {hamiltonian: {masses: [1]}}\n"
        "model:\n"
        "  blocks:\n"
        "    - {kind: kinetic}\n"
        "    - {kind: kinetic}",
        "Keep one of the two.",
    ),
    Code.TOO_FEW_BODIES: Page(
        "a pair potential needs two bodies",
        "The `pairs` block reads the distances between coordinates, one for each body, so there must be at least two.",
        "system: {kind: phase_space, coordinates: {q: 2}}\n"
        "constraints: {hamiltonian: {separable: true, masses: [1]}}\n"
        "model: {architecture: pairwise_energy}",
        "Declare a coordinate for each body, or let `hnn` learn the energy of the whole state.",
    ),
    Code.COORDINATES_DO_NOT_PAIR: Page(
        "coordinates have no distance",
        "A pair potential reads distances |q1 - q2|, so all coordinates need the same representation.",
        "system: {kind: phase_space, coordinates: {q1: 2, q2: 3}}\n"
        "constraints: {hamiltonian: {separable: true, masses: [1, 1]}}\n"
        "model: {architecture: pairwise_energy}",
        "Give all the same dimensions or irreps, or use `hnn`.",
    ),
    Code.MASSES_UNUSED: Page(
        "masses are declared, but not used",
        "This model learns the kinetic energy together with the potential; the masses of the spec do not enter it.",
        "system: {kind: phase_space, coordinates: {q: 1}}\n"
        "constraints: {hamiltonian: {masses: [2]}}\n"
        "model: {architecture: hnn}",
        "Remove the masses, or use a model with a `kinetic` term.",
    ),
    Code.TERM_WITHOUT_ENERGY: Page(
        "a term of an energy, but no energy",
        "`kinetic` and `pairs` are terms of a Hamiltonian. Here the model predicts derivatives directly. Likewise a "
        "repulsion is a term of the energy of atoms, and needs that among the targets.",
        "system: {kind: phase_space, coordinates: {q: 1}}\n"
        "targets: {derivatives: {flow_of: null}}\n"
        "constraints: {hamiltonian: null}\n"
        "model: {blocks: [{kind: kinetic}, {kind: mlp}]}",
        "Write `derivatives: {flow_of: hamiltonian}` and a Hamiltonian constraint, or use `mlp` blocks alone.",
    ),
    Code.GRADIENT_OF_JUMP: Page(
        "a gradient through axes that jump",
        "Forces are the derivative of the energy, but the op at the caret is not continuous: principal axes change "
        "places, or the axes of two vectors turn over. Where the energy jumps there is no force, and an atom that "
        "crosses the place changes its energy for nothing.",
        "targets: {forces: {gradient_of: energy, wrt: positions, scale: -1}}\n"
        "model:\n"
        "  graph:\n"
        "    vectors: {kind: relative, of: positions}\n"
        "    harmonics: {kind: sph, of: vectors, lmax: 1}\n"
        "    pooled: {kind: reduce, of: harmonics, to: node}\n"
        "    axes: {kind: frame, form: pca, of: [positions], lmax: 1}\n"
        "    inside: {kind: to_frame, of: [pooled, axes]}\n"
        "    one: {kind: mlp, of: inside, widths: [4], out: 1}\n"
        "    atomic: {kind: shift_scale, of: one, species: species, unit: eV}\n"
        "    energy: {kind: reduce, of: atomic, to: system}",
        "Use a frame of each edge (`form: edge_z`) with `so2`, or leave the gradient out.",
    ),
    Code.JUMPING_ENERGY: Page(
        "forces of an energy that jumps",
        "Forces are the derivative of the energy, but the energy is not continuous: at the caret a neighbour comes or "
        "goes at once. Between such places the forces are right; across them the energy changes by an amount that no "
        "force has done, so that a simulation does not conserve it, and minimisers may stall. This is a warning: "
        "published models are made so, and errors on test sets do not show it.",
        "system: {interactions: {nearest: 12}}\n"
        "targets: {forces: {gradient_of: energy, wrt: positions, scale: -1}}",
        "Read all neighbours within the cutoff, and end them by an envelope: leave `interactions` out, and `weigh` "
        "what is summed. `equic show --why energy` names every place that jumps.",
    ),
    Code.NOTHING_TO_TABULATE: Page(
        "nothing can be tabulated",
        "`deploy: {tabulate: ...}` puts a spline in the place of every network that sees the length of an edge, or it "
        "and the species at its ends, and nothing else. In this model there is none: networks also see features, or "
        "what is modelled has no edges.",
        "deploy: {tabulate: {radial: 1e-6}}\nmodel: {architecture: egnn}",
        "Remove `tabulate`. Message passing with radial weights (mace, nequip, schnet, painn, ...) can be tabulated.",
    ),
    Code.MOMENTUM_DECLARED: Page(
        "a momentum is declared as a coordinate",
        "Every coordinate of a phase space brings the momentum that pairs with it, of the same representation. A "
        "coordinate called `p` beside one called `q` is probably that momentum written out; as a coordinate it would "
        "get a momentum of its own, and states would be twice as long as the data have them.",
        "system: {kind: phase_space, coordinates: {q: 2, p: 2}}\n"
        "constraints: {hamiltonian: {separable: true}}\n"
        "targets: {derivatives: {flow_of: hamiltonian}}\n"
        "model: {architecture: hnn}",
        "Declare the coordinates alone. Data hold all coordinates, then all momenta, in the declared order.",
    ),
}
