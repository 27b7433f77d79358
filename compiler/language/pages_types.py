"""Pages of the T and U codes: symmetry types and units."""

from .codes import Code, Page

PAGES: dict[Code, Page] = {
    Code.BROKEN_SYMMETRY: Page(
        "an op breaks a symmetry that is declared hard",
        "The checker follows every group factor through the graph. The op at the caret maps transformed inputs to "
        "something that is not the transformed output, and an output that must be exact depends on it. The model "
        "could not keep what the spec promises.",
        "system: {kind: phase_space, coordinates: {q: 1x1}}\nsymmetry: {SO(2): hard}\nmodel: {architecture: hnn}",
        "Use an op that keeps the symmetry (the help names one), or declare the factor `free`, or `relaxed` where "
        "that is offered.",
    ),
    Code.REP_MISMATCH: Page(
        "representations do not match",
        "An op gets features that transform in another way than it needs.",
        "model:\n"
        "  graph:\n"
        "    features: {kind: embed, of: species, out: 8}\n"
        "    vectors: {kind: relative, of: features}\n"
        "    energy: {kind: linear, of: features, out: 1x0e}",
        "Read another value, or insert a `linear` that changes the representation.",
    ),
    Code.CHANNELS_UNEQUAL: Page(
        "channels are unequal",
        "A symmetric power multiplies features channel by channel, so every irrep needs the same number of copies.",
        "model:\n"
        "  features: {node: 8x0e}\n"
        "  blocks:\n"
        "    - kind: mp\n"
        "      carry: 8x0e\n"
        "      message: {irreps: 8x0e+4x1o}\n"
        "      power: {order: 2}",
        "Give every irrep the same multiplicity, such as `8x0e+8x1o`.",
    ),
    Code.GATE_COUNT: Page(
        "a gate has the wrong number of scalars",
        "A gate multiplies each irrep that is not a scalar by one activated scalar, so there must be at least as "
        "many even scalars (`0e`) as irreps to scale; those left over pass through the activation.",
        "model:\n"
        "  graph:\n"
        "    features: {kind: embed, of: species, out: 8}\n"
        "    energy: {kind: linear, of: features, out: 1x0e}\n"
        "    vectors: {kind: relative, of: positions}\n"
        "    harmonics: {kind: sph, of: vectors, lmax: 2}        # one scalar, a vector and a tensor\n"
        "    gated: {kind: act, of: harmonics, form: gate}",
        "Add scalars with a `linear`: 8 vectors, and 4 scalars to keep, need `12x0e+8x1o`.",
    ),
    Code.ACTIVATION_ON_NONSCALAR: Page(
        "an activation acts on something other than scalars",
        "Applying a function to every component of a vector gives something that does not rotate like a vector. "
        "Only invariants may pass through a pointwise activation.",
        "model:\n"
        "  features: {node: 8x0e}\n"
        "  blocks:\n"
        "    - {kind: mp, carry: 8x0e+8x1o, message: {irreps: 8x0e+8x1o}, act: {form: pointwise}}",
        "Use `form: gate` or `form: norm`, which act on invariants, or declare the group `free`.",
    ),
    Code.UNREACHABLE_IRREPS: Page(
        "irreps cannot be reached",
        "No equivariant map, or product of the irreps at hand, gives the irreps asked for: they would be zero "
        "for ever. Products with harmonics follow |l1 - l2| <= l <= l1 + l2, and parities multiply.",
        "model:\n"
        "  features: {node: 8x0e, harmonics: 1}\n"
        "  blocks:\n"
        "    - {kind: mp, carry: 8x0e, message: {irreps: 8x0e+8x2e}}",
        "Raise the degree of the harmonics to the one that the help names, or ask for irreps that exist.",
    ),
    Code.UNKNOWN_GROUP: Page(
        "a group does not exist",
        "The system has no such symmetry group.",
        "symmetry: {O(4): hard}",
        "Take one of the groups listed. A group that is not declared is free.",
    ),
    Code.INDEX_MISMATCH: Page(
        "values live on different sets",
        "Every value belongs to the system, to nodes (atoms) or to edges (pairs). The op or target expects "
        "another of these than it gets.",
        "model:\n"
        "  graph:\n"
        "    features: {kind: embed, of: species, out: 8}\n"
        "    sum: {kind: reduce, of: features, to: node}\n"
        "    energy: {kind: linear, of: sum, out: 1x0e}",
        "Use `gather` to go from nodes to edges and `reduce` to sum them up.",
    ),
    Code.UNIT_MISMATCH: Page(
        "units do not match",
        "Units are part of the types: sums need equal units, and an op or target of one dimension cannot take "
        "values of another.",
        "model:\n"
        "  graph:\n"
        "    vectors: {kind: relative, of: positions}\n"
        "    lengths: {kind: length, of: vectors}\n"
        "    radial: {kind: radial, of: lengths, count: 1, envelope: 5}\n"
        "    energy: {kind: add, of: [lengths, radial]}",
        "Read a value of the unit that the message names, or declare that unit.",
    ),
    Code.UNKNOWN_UNIT: Page(
        "a unit does not exist",
        "Units are products of powers of names: those of the SI with prefixes, and eV, Å, Ha, Ry, bohr, cal, e, D, "
        "u, bar and the like. Capitals matter: `meV` and `MeV` differ by a factor of a billion.",
        "targets: {energy: {unit: eW}}",
        "Write, for example, `eV`, `kcal/mol/Å`, `Ha/bohr` or `meV/Å^3`.",
    ),
    Code.WRONG_DIMENSION: Page(
        "a quantity has the wrong dimension",
        "The unit is known, but it measures something else than the key asks for.",
        "system: {cutoff: 5.0 eV}",
        "Use a unit of the kind named in the message, such as `Å` or `nm` for a length.",
    ),
}
