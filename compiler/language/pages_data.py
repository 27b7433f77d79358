"""Pages of the D codes: data, in the spec and in its files (`equic check --data`)."""

from .codes import Code, Page

PAGES: dict[Code, Page] = {
    Code.NO_LABELS: Page(
        "the training set has no labels",
        "Without labels there is nothing to learn: they say which key of the file holds which target.",
        "data: {train: {path: a.xyz}}",
        "Write `labels: {energy: {key: ...}}`. `equic init FILE` lists the keys of a file.",
    ),
    Code.UNKNOWN_LABEL: Page(
        "a label belongs to no target",
        "Labels are named by the target that they train, and the spec declares no such target.",
        "data: {train: {path: a.xyz, labels: {enrgy: {key: energy}}}}",
        "Correct the name, or declare the target.",
    ),
    Code.ISOLATED_ATOMS: Page(
        "energies of isolated atoms do not fit the species",
        "Energies of isolated atoms are subtracted before training. A species without one would make every total "
        "energy wrong by thousands of eV; one that the system does not have is a slip.",
        "data: {train: {path: a.xyz, labels: {energy: {key: energy}}}, isolated_atoms: {H: -13.6, N: -1484}}",
        "Give one energy for each species, in eV, or write `least_squares`.",
    ),
    Code.LOSS_WITHOUT_LABEL: Page(
        "the loss weights a target without label",
        "The weight would have no effect: the training set has no label for this target.",
        "targets: {forces: {gradient_of: energy, wrt: positions, scale: -1}}\n"
        "data: {train: {path: a.xyz, labels: {energy: {key: energy}}}}\n"
        "train: {loss: {forces: {weight: 10}}}",
        "Add the label, or remove the weight.",
    ),
    Code.SET_NAME: Page(
        "the name of a data set is taken",
        "`train`, `validation` and `test` stand directly under `data`; a set of that name under `others` would replace "
        "them.",
        "data: {train: {path: a.xyz, labels: {energy: {key: energy}}}, others: {test: {path: b.xyz}}}",
        "Move it up, or give it another name.",
    ),
    Code.DATA_FILE: Page(
        "a data file cannot be read",
        "A set names a file that is missing, empty, damaged, or in a format that nothing here reads.",
        "data: {train: {path: tarin.xyz, labels: {energy: {key: energy}}}}",
        "Correct the path, which is relative to the spec. Structures: extended XYZ, or any format that ASE knows by "
        "its file name; states and particles: npz, or HDF5.",
    ),
    Code.LABEL_MISSING: Page(
        "frames lack a label",
        "Every frame of a set must have every label of the set under its key. Training stops rather than go on "
        "without: a model trained on labels that were not found has learned nothing, and looks as if it had.",
        "data: {train: {path: a.xyz, labels: {energy: {key: REF_energy}}}}   # a.xyz has `energy`",
        "Name the key as the file does; the message lists those there. Leave out frames that lack the label.",
    ),
    Code.LABEL_SHAPE: Page(
        "a label has the wrong shape",
        "A label has the shape of its target: one number for an energy, [atoms, 3] for forces, 6 or 9 numbers for a "
        "stress (which is symmetric), [states, D] for derivatives of a phase space. Something else was found, or no "
        "numbers at all.",
        "data: {train: {path: a.xyz, labels: {energy: {key: energies}}}}   # one number for each atom",
        "Name the key of the quantity that you mean, or reshape the data.",
    ),
    Code.LABEL_NOT_FINITE: Page(
        "a label is not a number",
        "A label holds nan or inf, as calculations that did not converge leave behind. One such number makes every "
        "weight nan.",
        "data: {train: {path: a.xyz, labels: {energy: {key: energy}}}}   # energy=nan in one frame",
        "Remove the frame, or repeat its calculation.",
    ),
    Code.UNDECLARED_SPECIES: Page(
        "the data has an element that the system lacks",
        "The model has weights for the species of the system alone.",
        "system: {kind: atoms, species: [H, C], cutoff: 4.0 Å}\n"
        "data: {train: {path: a.xyz, labels: {energy: {key: energy}}}}   # a.xyz has O",
        "Add the element to the species, or leave its structures out.",
    ),
    Code.UNSEEN_SPECIES: Page(
        "an element does not occur in training",
        "Weights of an element that no training frame shows stay as they were drawn: what the model says of it is "
        "random, in a test set that has it, or later.",
        "system: {kind: atoms, species: [H, C, N], cutoff: 4.0 Å}\n"
        "data: {train: {path: a.xyz, labels: {energy: {key: energy}}}}   # a.xyz has H and C alone",
        "Remove the element from the species, or add structures with it to the training set.",
    ),
    Code.UNLIKELY_UNIT: Page(
        "numbers look like another unit",
        "All-electron energies nearly add up from those of free atoms, which tells their unit. Forces of ordinary "
        "sets have an RMS below 15 eV/Å, stresses stay below 1 eV/Å^3 (160 GPa), and nearest atoms are about one sum "
        "of covalent radii apart. What is found fits another unit better.",
        "data: {train: {path: a.xyz, labels: {energy: {key: energy, unit: eV}}}}   # totals in Ha",
        "Write the unit of the file: `energy: {key: energy, unit: Ha}`. Labels are converted; lengths must be in Å.",
    ),
    Code.SHARED_STRUCTURES: Page(
        "two sets share structures",
        "The same structure (elements, positions and cell to 1e-6 Å) stands in two sets, or twice in a file that sets "
        "are drawn from. Errors on what was seen in training say little about the rest.",
        "data:\n  train: {path: all.xyz, labels: {energy: {key: energy}}}\n  test: {path: some_of_all.xyz}",
        "Remove the copies from one of the files, or draw the set: `test: 0.1`.",
    ),
    Code.NO_ISOLATED_ATOM: Page(
        "isolated atoms are missing in the data",
        "`isolated_atoms: frames` takes the energies of frames with one atom and `config_type=IsolatedAtom`. One is "
        "missing, or has no energy.",
        "data: {train: {path: a.xyz, labels: {energy: {key: energy}}}, isolated_atoms: frames}",
        "Add the frame to the training file, give the energies as a mapping in eV, or write `least_squares`.",
    ),
    Code.UNLIKELY_BINDING: Page(
        "energies do not fit those of the isolated atoms",
        "The energy of a structure less that of its free atoms is what its bonds are worth: 0 to 10 eV an atom. Here "
        "it is far from that. The free atoms are of another method or unit, or the totals are.",
        "data: {train: {path: a.xyz, labels: {energy: {key: energy}}}, isolated_atoms: {H: -13.6, C: -1029.5}}"
        "   # valence energies",
        "Take free atoms and totals from the same calculations, in the same unit; or write `least_squares`.",
    ),
    Code.LABELS_CONTRADICT: Page(
        "labels contradict each other",
        "Between two neighbouring structures the energy changes by the work of the forces, -(F1 + F2) · dr / 2, and "
        "of the stress, V σ : ε. Over many pairs the two must rise together, and about equally. Rank correlation and "
        "ratio say how they do; the check speaks where they are beyond chance (4 standard errors). States of a "
        "trajectory are held against their time derivatives in the same way.",
        "targets: {forces: {gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}}\n"
        "data: {train: {path: a.xyz, labels: {energy: {key: energy}, forces: {key: gradient}}}}",
        "Change the sign, or the unit, as the message says; check that energies and forces belong to the same frames.",
    ),
    Code.STRESS_NOT_PERIODIC: Page(
        "stress of a structure that is not periodic",
        "A stress is an energy over a volume, and only a structure that is periodic in all three directions has one.",
        "targets: {stress: {gradient_of: energy, wrt: strain, unit: eV/Å^3}}\n"
        "data: {train: {path: molecules.xyz, labels: {stress: {key: stress}}}}",
        "Remove the label, or give the frames their cell and `pbc`.",
    ),
    Code.CONSTANT_LABEL: Page(
        "a label is the same in all frames",
        "Nothing can be learned from a label that does not vary; zeros often stand for values that were not written.",
        "data: {train: {path: a.xyz, labels: {energy: {key: energy}}}}   # all zero",
        "Name the key that holds the values, or remove the label.",
    ),
    Code.NOTHING_LEFT: Page(
        "drawn sets leave nothing to train on",
        "Validation and test sets that are fractions or numbers are drawn from the training set.",
        "data: {train: {path: a.xyz, labels: {energy: {key: energy}}}, validation: 500}   # a.xyz has 400 frames",
        "Take fewer, or give the set a file of its own.",
    ),
    Code.INPUT_MISSING: Page(
        "the data lack an input",
        "What `inputs` declares enters the model, so every frame must have it, under its key: in training, and "
        "wherever the model is used. Isolated atoms alone may lack it; theirs is zero.",
        "system: {kind: atoms, species: [H], cutoff: 4.0 Å, inputs: {charge: {per: system, rep: 0e}}}\n"
        "data: {train: {path: a.xyz, labels: {energy: {key: energy}}}}   # a.xyz has `total_charge`",
        "Say what the file calls it: `charge: {per: system, rep: 0e, key: total_charge}`. What the data do not hold "
        "cannot be an input.",
    ),
}
