"""More pages of the T codes: what each op can reach, and how symmetries are declared."""

from .codes import Code, Page

PAGES: dict[Code, Page] = {
    Code.BAD_SWAP: Page(
        "a permutation that names no bodies that are alike",
        "`permutation` says which coordinates may be swapped: existing ones, of one representation, each named once. "
        "Other groups act on all coordinates and have no `swap`.",
        "system: {kind: phase_space, coordinates: {q1: 1x1, q2: 1x1}}\n"
        "symmetry: {permutation: {swap: [q1, p1]}}\n"
        "model: {architecture: hnn}",
        "Name the coordinates that are alike: `permutation: {swap: [q1, q2]}`.",
    ),
    Code.FACTOR_TWICE: Page(
        "a factor of the group is declared twice",
        "O(3) is SO(3) times inversion, so declaring it and one of its factors says two things of that factor.",
        "symmetry: {O(3): hard, SO(3): free}",
        "Declare `O(3)` as a whole, or `SO(3)` and `inversion`, each with its own mode.",
    ),
    Code.UNREACHABLE_BY_LINEAR: Page(
        "a linear map cannot reach these irreps",
        "An equivariant linear map connects equal irreps only (Schur's lemma): it mixes copies, and makes no vectors "
        "from scalars. What is asked for here would be zero for ever.",
        "model:\n"
        "  features: {node: 8x0e}\n"
        "  blocks:\n"
        "    - {kind: mp, carry: 8x0e+8x1o, message: {irreps: 8x0e}}",
        "Let an op before this one (a message, a power) make the irreps, or ask for those at hand.",
    ),
    Code.UNREACHABLE_BY_POWER: Page(
        "a symmetric power cannot reach these irreps",
        "Products of up to `order` features give irreps up to `order` times their degree, with the product of their "
        "parities, and not all of those: the cross product of a vector with itself is zero.",
        "model:\n"
        "  features: {node: 8x0e}\n"
        "  blocks:\n"
        "    - {kind: mp, carry: 8x0e+8x2e, message: {irreps: 8x0e+8x1o}, power: {order: 1}}",
        "Raise the order or the degree of the features, or carry fewer irreps. The help names the smallest order.",
    ),
    Code.UNREACHABLE_PARITY: Page(
        "these irreps have a parity that nothing here has",
        "Harmonics of degree l have parity (-1)^l. From invariants they reach `1o` and `2e`, but never `0o` or `1e`, "
        "however high their degree: such pseudo-tensors need products of features that are vectors already.",
        "model:\n"
        "  features: {node: 8x0e}\n"
        "  blocks:\n"
        "    - {kind: mp, carry: 8x0e, message: {irreps: 8x0e+8x1e}}",
        "Ask for the other parity, carry vectors before this layer, or declare `inversion: free`.",
    ),
    Code.EVEN_FUNCTION_ON_ODD: Page(
        "a function that is not odd acts on odd numbers",
        "Under inversion a pseudo-scalar (`0o`) changes its sign. Only an odd function hands the sign on; silu or "
        "softplus of it is neither even nor odd.",
        "model:\n"
        "  graph:\n"
        "    features: {kind: embed, of: species, out: 4}\n"
        "    vectors: {kind: relative, of: positions}\n"
        "    lengths: {kind: length, of: vectors}\n"
        "    radial: {kind: radial, of: lengths, count: 4, envelope: 5}\n"
        "    harmonics: {kind: sph, of: vectors, lmax: 1}\n"
        "    sources: {kind: gather, of: features}\n"
        "    w1: {kind: mlp, of: radial, widths: [], out: 4}\n"
        "    m1: {kind: product, of: [sources, harmonics], weights: w1, irreps: 4x1o}\n"
        "    x1: {kind: reduce, of: m1, to: node}\n"
        "    s1: {kind: gather, of: x1}\n"
        "    w2: {kind: mlp, of: radial, widths: [], out: 4}\n"
        "    m2: {kind: product, of: [s1, harmonics], weights: w2, irreps: 4x1e}\n"
        "    x2: {kind: reduce, of: m2, to: node}\n"
        "    s2: {kind: gather, of: x2}\n"
        "    w3: {kind: mlp, of: radial, widths: [], out: 4}\n"
        "    m3: {kind: product, of: [s2, harmonics], weights: w3, irreps: 4x0o}\n"
        "    x3: {kind: reduce, of: m3, to: node}\n"
        "    act: {kind: act, of: x3, f: softplus}\n"
        "    square: {kind: inner, of: [act, act]}\n"
        "    one: {kind: linear, of: square, out: 1x0e}\n"
        "    atomic: {kind: shift_scale, of: one, species: species, unit: eV}\n"
        "    energy: {kind: reduce, of: atomic, to: system}",
        "Use `tanh`, a gate or a norm, or declare `inversion: free`.",
    ),
    Code.MODE_NOT_OFFERED: Page(
        "the mode is not offered",
        "In this version of the language symmetries of atoms are held `hard`, `free` or relaxed by a strength, and "
        "those of a phase space `hard` or `free`.",
        "system: {kind: phase_space, coordinates: {q: 1x1}}\n"
        "symmetry: {SO(2): {relaxed: 0.1}}\n"
        "model: {architecture: hnn}",
        "Write one of the modes that the help names.",
    ),
    Code.IMPLIED_GROUP: Page(
        "this symmetry holds anyway",
        "A model of atoms sees differences of positions, and sums over atoms of one species alike: translation and "
        "permutation are always exact, and cannot be declared otherwise.",
        "symmetry: {O(3): hard, translation: hard}",
        "Remove the line.",
    ),
    Code.FEATURES_NOT_INVARIANT: Page(
        "atoms start with invariants",
        "All that is known of an atom before it looks at its neighbours is its species, and a species has no "
        "direction. The first features can only be `0e`.",
        "model:\n  features: {node: 8x0e+8x1o}\n  blocks:\n    - {kind: mp, carry: 8x0e, message: {irreps: 8x0e}}",
        "Write `node: 16x0e`; messages bring the vectors.",
    ),
    Code.TARGET_REP: Page(
        "a target has another representation than the model computes",
        "The target is declared with other irreps than its value has. An energy is one invariant, a force one "
        "vector (`1o`), a stress a symmetric tensor (`0e+2e`).",
        "targets: {energy: {rep: 1o}}",
        "Declare what is computed, which the message names.",
    ),
    Code.TARGET_INDEX: Page(
        "a target lives on another set",
        "`per:` says whether there is one value for each system or for each node (atom), and the model computes "
        "the other.",
        "targets: {energy: {per: node}}",
        "Write the set that the message names, or leave `per` out.",
    ),
    Code.TARGET_FROM_SCALARS: Page(
        "a vector from scalars only",
        "The features that the layers hand on are invariants, and a target with a direction cannot be made of them: "
        "no linear map turns numbers that stay as they are into numbers that rotate.",
        "targets: {dipole: {per: system, rep: 1o, unit: e Å}}\nmodel: {architecture: mace, hidden_lmax: 0}",
        "Let the layers carry the degree of the target: `hidden_lmax: 1` in a preset, `16x1o` in `carry` of a block.",
    ),
    Code.TARGET_NOT_CARRIED: Page(
        "a target needs irreps that no layer carries",
        "A head reads a target from the features that layers hand on, so each irrep of the target must be among "
        "those of one layer. A symmetric matrix needs degree 2, an octupole 3; an axial vector is `1e`, which "
        "harmonics and `0e` alone never make.",
        "targets: {polarizability: {per: system, rep: 0e+2e, unit: Å^3}}\n"
        "model: {architecture: mace, hidden_lmax: 1}",
        "Raise the parameter that the message names, or add the irreps to `carry` of a layer.",
    ),
    Code.TARGET_FORM: Page(
        "the form of a target does not fit",
        "`form: cartesian` says that the numbers of a target are those of a vector or of a matrix 3x3, `form: irreps` "
        "that they are components of irreps one after another. A vector is `1o` or `1e`, a symmetric matrix `0e+2e`, "
        "one without trace `2e`, a general one `0e+1e+2e`.",
        "targets: {octupole: {per: system, rep: 3o, form: cartesian}}\n"
        "model: {architecture: mace, hidden_lmax: 3}",
        "Leave `form` out, or write the one that the message names.",
    ),
    Code.NO_CUTOFF: Page(
        "a function of length needs a cutoff",
        "Radial functions and envelopes are laid out from zero to the distance at which they end. Where all particles "
        "see each other, or each its nearest ones, there is no such distance.",
        "system: {kind: particles, interactions: all}\n"
        "model:\n"
        "  graph:\n"
        "    v: {kind: relative, of: positions}\n"
        "    r: {kind: length, of: v}\n"
        "    e: {kind: radial, of: r, count: 4, envelope: 5}\n"
        "    energy: {kind: mlp, of: e, widths: [8], out: 1}",
        "Write `interactions: {within: 3.0}`, or read lengths through `normalize` and an `mlp`, as blocks do.",
    ),
    Code.ABSOLUTE_POSITIONS: Page(
        "absolute positions are used, but translation is hard",
        "The op reads where the origin is. Moving the whole system would change its result, and a declared output "
        "depends on it.",
        "system: {kind: phase_space, coordinates: {q: 2}}\n"
        "symmetry: {translation: hard}\n"
        "model: {architecture: hnn}",
        "Subtract positions first, or declare `translation: free`. `pairwise_energy` reads differences only.",
    ),
    Code.BAD_SLICE: Page(
        "a slice does not fit the state",
        "A slice names numbers `start` to `stop` of the state (coordinates, then momenta), and how many of them its "
        "representation has.",
        "system: {kind: phase_space, coordinates: {q: 2}}\n"
        "model:\n"
        "  graph:\n"
        '    q: {kind: slice, of: state, start: 2, stop: 6, rep: "4", affine: true}\n'
        "    hamiltonian: {kind: mlp, of: q, widths: [8], out: 1}\n"
        "    derivatives: {kind: poisson, of: [hamiltonian, state]}",
        "Count from 0; `stop` is one behind the last number, and at most the size of the state.",
    ),
    Code.PATH_WEIGHTS: Page(
        "a product gets the wrong number of weights",
        "Every path of a product, in every channel, has one weight for each edge. The network that makes them must "
        "give just so many.",
        "model:\n"
        "  graph:\n"
        "    features: {kind: embed, of: species, out: 4}\n"
        "    vectors: {kind: relative, of: positions}\n"
        "    lengths: {kind: length, of: vectors}\n"
        "    radial: {kind: radial, of: lengths, count: 4, envelope: 5}\n"
        "    harmonics: {kind: sph, of: vectors, lmax: 1}\n"
        "    sources: {kind: gather, of: features}\n"
        "    weights: {kind: mlp, of: radial, widths: [8], out: 7}\n"
        "    messages: {kind: product, of: [sources, harmonics], weights: weights, irreps: 4x0e}\n"
        "    x: {kind: reduce, of: messages, to: node}\n"
        "    one: {kind: linear, of: x, out: 1x0e}\n"
        "    atomic: {kind: shift_scale, of: one, species: species, unit: eV}\n"
        "    energy: {kind: reduce, of: atomic, to: system}",
        "Let the network end in the number that the message names.",
    ),
    Code.GRADIENT_OF_FIELD: Page(
        "a gradient needs one number per system",
        "Forces are the derivative of the energy of a whole system. The value named in `gradient_of` has several "
        "numbers, or one for each atom.",
        "targets: {energy: {}, forces: {gradient_of: energy, wrt: positions, scale: -1}}\n"
        "model:\n"
        "  graph:\n"
        "    features: {kind: embed, of: species, out: 8}\n"
        "    energy: {kind: linear, of: features, out: 1x0e}",
        "Sum it up with `{kind: reduce, to: system}` first.",
    ),
    Code.LABELS_NOT_NUMBERS: Page(
        "an op computes with labels",
        "A species is a label, not a number: carbon is not half of magnesium. Only `embed` and the `species` of a "
        "few ops read labels.",
        "model:\n  graph:\n    energy: {kind: mlp, of: species, widths: [8], out: 1}",
        "Embed it first: `{kind: embed, of: species, out: 16}` gives every species a learned vector.",
    ),
    Code.TWO_MODES: Page(
        "a factor is held in two ways",
        "A symmetry is held hard, or relaxed by a strength, but not both at once.",
        "symmetry: {O(3): {relaxed: 0.1, hard: {within: 1e-6}}}",
        "Keep the one that is meant. Factors of a group may use different modes: "
        "`{SO(3): {relaxed: 0.1}, inversion: hard}`.",
    ),
    Code.MISSING_UNIT: Page(
        "a length has no unit",
        "Is `4.0` in Å, bohr or nm? The compiler does not guess.",
        "system: {cutoff: 4.0}",
        "Write the unit behind the number: `4.0 Å`.",
    ),
    Code.UNIT_NOT_COMPUTED: Page(
        "models do not compute in this unit",
        "The unit measures the right thing, but derived targets come out in the unit of the energy over Å. Labels "
        "may be in any unit of the same dimension: they are converted.",
        "targets: {forces: {gradient_of: energy, wrt: positions, scale: -1, unit: kcal/mol/Å}}",
        "Write the unit that the message names, and put the unit of the file beside the label.",
    ),
    Code.LABEL_UNIT: Page(
        "a label measures something else than its target",
        "Labels are converted between units of one dimension, but this label has another dimension than the target.",
        "data: {train: {path: a.xyz, labels: {energy: {key: energy, unit: eV/Å}}}}",
        "Name the unit in which the file stores the label, or another key of the file.",
    ),
    Code.GRADIENT_UNIT: Page(
        "the unit of a gradient does not fit its energy",
        "A force is energy over length, a stress energy over volume. The unit declared is neither.",
        "targets: {forces: {gradient_of: energy, wrt: positions, scale: -1, unit: eV}}",
        "Write the unit that the message names, or leave it out: it follows from the energy's.",
    ),
    Code.OTHER_FRAME: Page(
        "components are along other axes",
        "Values that `to_frame` took to the axes of an edge have components along those axes, different ones on "
        "every edge. They cannot be summed over edges, multiplied with harmonics, or read by a dense layer, "
        "before `from_frame` brings them back. Scalars are the same in every frame. In the same way values in the "
        "orientations of an `orbit` are for ops that act row by row, until `average` takes their mean.",
        "model:\n"
        "  graph:\n"
        "    features: {kind: embed, of: species, out: 4}\n"
        "    vectors: {kind: relative, of: positions}\n"
        "    axes: {kind: frame, of: [vectors], lmax: 1}\n"
        "    harmonics: {kind: sph, of: vectors, lmax: 1}\n"
        "    turned: {kind: to_frame, of: [harmonics, axes]}\n"
        "    mixed: {kind: so2, of: turned, out: 4x1o}\n"
        "    pooled: {kind: reduce, of: mixed, to: node}\n"
        "    one: {kind: linear, of: features, out: 1x0e}\n"
        "    atomic: {kind: shift_scale, of: one, species: species, unit: eV}\n"
        "    energy: {kind: reduce, of: atomic, to: system}",
        "Write `{kind: from_frame, of: [VALUE, FRAME]}` before the op.",
    ),
    Code.ONLY_APPROXIMATE: Page(
        "a symmetry that must be exact is approximate",
        "The op at the caret keeps the symmetry up to an error, measured on the op itself with random features and "
        "random rotations. The spec asks for exactness, or for a smaller error. Errors of several ops add up; what "
        "the model makes of them is measured by its certificate, against the same number.",
        "symmetry: {O(3): hard}\n"
        "model:\n"
        "  graph:\n"
        "    features: {kind: embed, of: species, out: 4}\n"
        "    vectors: {kind: relative, of: positions}\n"
        "    harmonics: {kind: sph, of: vectors, lmax: 2}\n"
        "    bent: {kind: act, of: harmonics, form: s2, f: silu}\n"
        "    pooled: {kind: reduce, of: bent, to: node}\n"
        "    x: {kind: linear, of: pooled, out: 1x0e}\n"
        "    atomic: {kind: shift_scale, of: x, species: species, unit: eV}\n"
        "    energy: {kind: reduce, of: atomic, to: system}",
        "Accept the error with `{hard: {within: 1e-2}}`, sum over a finer grid, or use an op that is exact: a gate, "
        "or a product on the sphere.",
    ),
}
