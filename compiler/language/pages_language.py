"""Pages of the L and R codes: the language, and what it leaves open to search."""

from .codes import Code, Page

PAGES: dict[Code, Page] = {
    Code.UNKNOWN_KEY: Page(
        "a key does not exist",
        "The vocabulary is closed: a key that the block does not have is an error and never ignored, since it is "
        "nearly always a misspelling of one that matters.",
        "train: {epoch: 100}",
        "Take the suggested key, or move the line to the block it belongs to. `specs/schema.json` lists every key, "
        "and lets editors complete them.",
    ),
    Code.MISSING_KEY: Page(
        "a key is missing",
        "The block cannot be understood without this key, and it has no default.",
        "targets: {forces: {gradient_of: energy, wrt: positions, scale: -1}, energy: {}}\n"
        "data: {train: {labels: {energy: {key: energy}}}}",
        "Add the key to the block shown.",
    ),
    Code.WRONG_TYPE: Page(
        "a value is of the wrong type",
        "The key expects another kind of value: a number, a text, `true` or `false`, a list, or a mapping. Plain "
        "words follow YAML 1.2: `yes` and `on` are texts, `1e-3` is a number, `1_000` is a text.",
        "train: {epochs: many}",
        "Write the kind of value that the message names. Quotes make a text of anything.",
    ),
    Code.WRONG_CHOICE: Page(
        "a value is not one of the choices",
        "The key takes one of a few words, and this is not one of them.",
        "train: {optimizer: adan}",
        "Take one of the words listed.",
    ),
    Code.UNKNOWN_KIND: Page(
        "a kind does not exist",
        "`kind:` says which sort of block (system, block, op) this is and with it which other keys it has, so they "
        "are checked only once the kind is right.",
        "system: {kind: atom}",
        "Take one of the kinds listed.",
    ),
    Code.OUT_OF_RANGE: Page(
        "a number is out of range",
        "The number has the right type, but lies where it makes no sense: a negative number of epochs, a strength "
        "of relaxation above 1.",
        "train: {batch: 0}",
        "Choose a number within the bounds that the message names.",
    ),
    Code.BAD_IRREPS: Page(
        "irreps cannot be read",
        "Irreps are a sum of terms MULTIPLICITYx(DEGREE)(PARITY): `16x0e+8x1o` is sixteen invariants and eight "
        "vectors. `e` is even and `o` is odd under inversion; a multiplicity of 1 may be left out.",
        "targets: {energy: {rep: 0f}}",
        "Write terms such as `1o` or `8x2e`, joined by `+`.",
    ),
    Code.BAD_QUANTITY: Page(
        "a quantity cannot be read",
        "A quantity is a number, a blank and a unit. Without its unit a number could mean anything.",
        "system: {cutoff: wide}",
        "Write, for example, `5.0 Å`.",
    ),
    Code.UNKNOWN_ARCHITECTURE: Page(
        "an architecture does not exist",
        "`architecture:` names a preset, and there is none of this name for this kind of system.",
        "model: {architecture: nequipp}",
        "Take one of the presets listed, or describe the model by `features:` and `blocks:`.",
    ),
    Code.UNKNOWN_REFERENCE: Page(
        "a name refers to nothing",
        "The spec refers to a target, label or value of the graph by its name, and nothing has that name.",
        "train: {loss: {dipole: {weight: 1}}}",
        "Correct the name, or declare what it refers to.",
    ),
    Code.UNSUPPORTED_VERSION: Page(
        "the version of the language is not supported",
        "`equic:` says for which version of the language a spec was written. This compiler reads version 1.",
        "equic: 2",
        "Write `equic: 1`, or install the equic that the spec was written for.",
    ),
    Code.BAD_OVERRIDE: Page(
        "an override cannot be applied",
        "`--set path=value` lays a value over the spec. The path is dotted (`model.channels`), list items are "
        'counted from 0 (`model.blocks.0`), and keys with a dot are quoted (`"a.b"`). The value is YAML.',
        "equic check spec.yaml --set model.channels",
        "Write `--set model.channels=32`. In a shell, put braces in quotes: `--set 'symmetry.O(3)={relaxed: 0.1}'`.",
    ),
    Code.INVALID_VALUE: Page(
        "a value does not make sense",
        "The value has the right form, but fails a rule of its block, which the message states.",
        "targets: {energy: {wrt: positions}}",
        "Follow the rule in the message.",
    ),
    Code.WRONG_LENGTH: Page(
        "a list or text has the wrong length",
        "The key needs at least, or at most, so many items.",
        "system: {species: []}",
        "Add or remove items until the number fits.",
    ),
    Code.CONFLICTING_KEYS: Page(
        "two keys contradict each other",
        "Each of the keys is fine alone, but together they say two different things.",
        "model: {architecture: mace, graph: {}}",
        "Keep the one that is meant.",
    ),
    Code.IRREPS_TOO_LARGE: Page(
        "irreps are too large",
        "Degrees go up to 12, copies up to a million, and a list of irreps has up to 64 terms. Beyond that the tables "
        "of couplings would not fit into memory, and a slip of the finger is likelier than a purpose.",
        "targets: {energy: {rep: 1x40e}}",
        "Ask for lower degrees or fewer copies. Equal irreps are one term: `8x1o`, not `1o+1o+...`.",
    ),
    Code.AMBIGUOUS_ARCHITECTURE: Page(
        "an architecture's name has two meanings",
        "Two papers gave different networks the same name: HEGNN is a Heisenberg edge network for spins and a "
        "high-degree equivariant network, SEGNN a spin-distance edge network and a steerable equivariant network.",
        "model: {architecture: hegnn}",
        "Write the full name that the help lists.",
    ),
    Code.OTHER_ARCHITECTURE: Page(
        "an architecture is for another kind of system",
        "The preset exists, but computes with other inputs than this system has: `mace` reads positions and species, "
        "`hnn` reads coordinates and momenta.",
        "system: {kind: phase_space, coordinates: {q: 1}}\nmodel: {architecture: mace}",
        "Take one of the presets listed, or change `kind:`.",
    ),
    Code.UNKNOWN_PARAMETER: Page(
        "a preset has no such parameter",
        "Each architecture has its own few parameters, and this is not one of them. What has no parameter can be "
        "changed at the next level: `equic show --level 2` prints the blocks of a preset.",
        "model: {architecture: mace, chanels: 8}",
        "Take the suggested name or one of the parameters listed.",
    ),
    Code.NAME_TAKEN: Page(
        "a name is taken",
        "Inputs, derived targets and the parts of a model are values of one graph, and each needs its own name.",
        "model:\n  graph:\n    species: {kind: embed, of: species, out: 8}",
        "Give the value another name.",
    ),
    Code.CIRCULAR_VALUES: Page(
        "values need each other",
        "Each of these values reads the next, and the last reads the first, so that none can be computed before the "
        "others.",
        "model:\n"
        "  graph:\n"
        "    a: {kind: linear, of: energy, out: 4x0e}\n"
        "    energy: {kind: linear, of: a, out: 1x0e}",
        "Let one of them read an input or an earlier value.",
    ),
    Code.TARGET_NOT_COMPUTED: Page(
        "nothing computes a target",
        "In an explicit graph a target is the value of its name, or is derived from one by `gradient_of`. Presets and "
        "blocks for atoms have a head for every target; those for phase spaces compute `derivatives`.",
        "targets: {dipole: {rep: 1o}}\n"
        "model:\n"
        "  graph:\n"
        "    free: {kind: embed, of: species, out: 1}\n"
        "    energy: {kind: reduce, of: free, to: system}",
        "Declare what the model computes, or add a value of that name to the graph.",
    ),
    Code.UNKNOWN_ELEMENT: Page(
        "a chemical symbol does not exist",
        "Species are chemical symbols with their capital letters: `Cl`, not `CL`.",
        "system: {species: [H, Xx]}",
        "Write the symbol of an element.",
    ),
    Code.LISTED_TWICE: Page(
        "a species is listed twice",
        "Every species has its own weights, so it stands in the list once.",
        "system: {species: [H, C, H]}",
        "Remove one of the two.",
    ),
    Code.BAD_NAME: Page(
        "a name cannot be used",
        "The name of a spec becomes the name of files, and that of a coordinate the name of a value.",
        "name: my model",
        "Use letters, digits and `_` (in the name of a spec also `.` and `-`).",
    ),
    Code.MODEL_TOO_LARGE: Page(
        "a model has too many operations",
        "A model may have 2,000 operations; a hundred layers of MACE have 1,111. What is larger is a slip in a number, "
        "such as a list of thousands of hidden widths, or repeated blocks that repeat blocks.",
        "model:\n"
        "  features: {node: 8x0e}\n"
        "  blocks:\n"
        "    - {kind: repeat, times: 100, block: {kind: egnn}}\n"
        "    - {kind: repeat, times: 100, block: {kind: egnn}}",
        "Write fewer layers, or fewer hidden widths.",
    ),
    Code.EMPTY_SEARCH: Page(
        "a search has nothing to choose from",
        "A search needs at least two choices, or a range of some width.",
        "train: {learning_rate: {search: [0.01]}}",
        "Add choices or widen the range, or write the value itself.",
    ),
    Code.BAD_SEARCH: Page(
        "a search cannot be understood",
        "A search is a range, `{search: {low: 1e-4, high: 1.0, log: true}}`, with `step` or `log` and `default` "
        "as options, or a list of choices, `{search: [a, b]}`. It stands alone where the value would stand.",
        "train: {learning_rate: {search: 0.01}}",
        "Write one of the two forms. Both ends of a range are numbers (with the same unit, if any); a logarithmic "
        "range starts above 0.",
    ),
    Code.REVERSED_BOUNDS: Page(
        "the bounds of a search are reversed",
        "`low` is larger than `high`.",
        "train: {learning_rate: {search: {low: 0.1, high: 0.001}}}",
        "Exchange the two.",
    ),
    Code.NESTED_SEARCH: Page(
        "a search stands inside a search",
        "A choice of a search cannot itself be searched: whether the inner value exists would depend on the outer "
        "one, and results could not be compared.",
        "symmetry: {O(3): {search: [hard, {relaxed: {search: [0.1, 0.5]}}]}}",
        "List the values as choices of one search: `{search: [hard, {relaxed: 0.1}, {relaxed: 0.5}]}`.",
    ),
    Code.NOTHING_TO_SEARCH: Page(
        "nothing is left to search",
        "`equic tune` searches exactly what the spec marks by `{search: ...}`, and this spec marks nothing.",
        "equic tune spec.yaml        # a spec without any search",
        "Mark at least one value, such as `learning_rate: {search: {low: 1e-3, high: 0.1, log: true}}`.",
    ),
    Code.TINY_SEARCH: Page(
        "only 0 and 1 are searched",
        "Where both ends of a range are whole numbers, only whole numbers are tried. From 0 to 1 these are just "
        "the two ends, which is rarely meant.",
        "symmetry: {O(3): {relaxed: {search: {low: 0, high: 1}}}}",
        "Write `high: 1.0`. If the two ends are meant, write `{search: [0, 1]}`.",
    ),
    Code.UNKNOWN_OBJECTIVE: Page(
        "an objective names nothing that is measured",
        "`tune.minimize` is SET.TARGET.STATISTIC: a data set of the spec, a target that has labels, and `rmse` or "
        "`mae`.",
        "tune: {minimize: validation.enrgy.rmse}",
        "Take one of those listed.",
    ),
    Code.SEVERAL_OBJECTIVES: Page(
        "a search has several objectives",
        "A search ranks its trials by one number.",
        "tune: {minimize: [validation.energy.rmse, validation.forces.rmse]}",
        "Name the one that matters most; all errors are reported anyway.",
    ),
    Code.LOG_FROM_ZERO: Page(
        "a logarithmic range starts at zero",
        "On a logarithmic scale zero is infinitely far away, and below it there is nothing.",
        "symmetry: {O(3): {relaxed: {search: {low: 0.0, high: 1.0, log: true}}}}",
        "Start at the smallest value that makes a difference, such as `1e-4`, or remove `log`.",
    ),
    Code.BAD_DEFAULT: Page(
        "the default of a search is not among its values",
        "`default:` is what every command but `equic tune` takes, and the first trial: it must be a value that the "
        "search could choose, in the same unit.",
        "train: {learning_rate: {search: {low: 1e-3, high: 0.1, default: 1.0}}}",
        "Choose a default within the range or among the choices, or leave it out.",
    ),
    Code.BAD_STEP: Page(
        "the step of a search does not fit",
        "A step walks from `low` to `high`, so it is positive and smaller than the range. On a logarithmic scale "
        "there are no equal steps.",
        "train: {batch: {search: {low: 1, high: 8, step: 16}}}",
        "Write a smaller step, or remove it.",
    ),
    Code.UNSOUND_CHOICE: Page(
        "a search may try a value that does not compile",
        "Every choice, and both ends of every range, are compiled beside the defaults of the other searches. This one "
        "gives an error, and so would its trial.",
        "train: {batch: {search: {low: 0, high: 8}}}",
        "Leave the value out or narrow the range; the rest of the message says what is wrong with it.",
    ),
}
