"""The text of a first spec: commented, from what a file holds, or from a kind alone."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from equic.runtime.data.survey import FoundLabel, StructureSurvey
    from equic.runtime.data.survey_arrays import ArraySurvey
    from equic.runtime.data.survey_particles import ParticleSurvey

KINDS = ("atoms", "particles", "phase_space")
_PLAIN = re.compile(r"[A-Za-z_./][\w./-]*")
_WORDS = frozenset({"null", "true", "false"})
_REPS = {1: "0e", 3: "1o"}
_COLUMN = 46  # where comments start, at the least

_ATOMS_SYMMETRY = """\
symmetry:
  O(3): hard                                  # proven; or {relaxed: 0.1}, or free; translation is implied
"""
_ATOMS_MODEL = """\
model:
  architecture: mace
  channels: 32                                # more: slower, often more accurate
  lmax: 2                                     # of the messages; 3 for the last few percent
  hidden_lmax: 1                              # of the features carried between layers; 0 is fastest
  correlation: 3                              # body order minus one
  layers: 2                                   # each lets an atom see one more cutoff
"""
_ATOMS_TRAIN = """\
train: {epochs: 100, batch: 10, learning_rate: 0.01, ema: 0.99, seed: 1}
export: {targets: [pt2], dtype: float64}
"""
_ATOMS_TARGETS = """\
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}
"""
_STRESS_TARGET = """\
  stress: {gradient_of: energy, wrt: strain, unit: eV/Å^3}
"""
_STATE_REST = """\
symmetry: {}                                  # such as {SO(2): hard}, with vectors of the plane as `1x1`
constraints:
  hamiltonian:                                # energy is conserved: z' = (dH/dp, -dH/dq)
    separable: false                          # true where H = T(p) + V(q): allows leapfrog
    integrator: rk4
targets:
  derivatives: {flow_of: hamiltonian}
model: {architecture: hnn, hidden: [64, 64]}  # or pairwise_energy; without `constraints` and `flow_of`: mlp
"""
_STATE_TRAIN = """\
train: {epochs: 100, batch: 64, learning_rate: 0.003, seed: 1}
"""


def template(kind: str) -> str:
    """A spec of this kind with its data still to be named; passes `equic check`."""
    if kind == "atoms":
        return (
            "# A potential for molecules or crystals. Next: `equic init DATA`, or fill in `data`.\n"
            "equic: 1\n"
            "name: potential\n"
            "system:\n"
            "  kind: atoms\n"
            + _line("  species: [H, C, O]", "every element of the data")
            + _line("  cutoff: 5.0 Å", "atoms further apart do not see each other directly")
            + _ATOMS_SYMMETRY
            + _ATOMS_TARGETS
            + "  # stress: {gradient_of: energy, wrt: strain, unit: eV/Å^3}   # for periodic systems\n"
            + _ATOMS_MODEL
            + "# data:\n"
            "#   train:\n"
            "#     path: train.xyz                         # any format of ASE, relative to this file\n"
            "#     labels: {energy: {key: energy, unit: eV}, forces: {key: forces, unit: eV/Å}}\n"
            "#   validation: 0.1\n"
            "#   test: 0.1\n"
            "#   isolated_atoms: least_squares             # or frames, or {H: -13.6, C: -1029.2, O: -2041.3} in eV\n"
            + _ATOMS_TRAIN
        )
    if kind == "particles":
        return (
            "# Points in space with declared fields. Next: fill in `data`.\n"
            "equic: 1\n"
            "name: particles\n"
            "system:\n"
            "  kind: particles\n"
            "  inputs:\n"
            + _line("    velocity: {per: node, rep: 1o}", "a vector; read from the array of this name")
            + _line("    charge: {per: node, rep: 0e}", "an invariant")
            + _line("  interactions: all", "or {within: 3.0}, or {nearest: 8}")
            + _ATOMS_SYMMETRY
            + "targets:\n"
            + _line("  displacement: {per: node, rep: 1o}", "or an energy, with forces as its gradient")
            + "model: {architecture: mace, channels: 16, lmax: 1, correlation: 2, layers: 2, radial: [32]}\n"
            "# data:\n"
            "#   train: {path: train.npz, labels: {displacement: {key: displacement}}}   # positions [S, N, 3]\n"
            "#   validation: 0.1\n"
            "train: {epochs: 50, batch: 50, learning_rate: 0.01, ema: 0.99, seed: 1}\n"
        )
    return (
        "# A mechanical system: the flow of a learned Hamiltonian. Next: `equic init DATA.npz`, or fill in `data`.\n"
        "equic: 1\n"
        "name: mechanics\n"
        "system:\n"
        "  kind: phase_space\n"
        + _line("  coordinates: {q: 1}", "name: dimensions; a state is all of them, then their momenta")
        + _STATE_REST
        + "# data:\n"
        "#   train: {path: train.npz, state: z, labels: {derivatives: {key: dz}}}   # arrays [states, D]\n"
        "#   validation: 0.1\n" + _STATE_TRAIN
    )


def spec_for_structures(survey: StructureSurvey, folder: Path) -> str:
    """A spec for a file of structures, to stand in `folder`; what is guessed says so."""
    size = (
        f"{survey.atoms[0]}"
        if survey.atoms[0] == survey.atoms[1]
        else f"{survey.atoms[0]} to {survey.atoms[1]}"
    )
    count = f"{survey.frames} structures of {size} atoms" if survey.frames else "isolated atoms only"
    nearest = (
        ""
        if survey.nearest is None
        else f": {survey.neighbors:.0f} neighbours an atom, the nearest at {survey.nearest:.2f} Å"
    )
    return (
        f"# Written by `equic init {survey.path.name}` ({count}). Lines marked GUESS need your eye.\n"
        "equic: 1\n"
        f"name: {_name(survey.path)}\n"
        "system:\n"
        "  kind: atoms\n"
        f"  species: [{', '.join(survey.species)}]\n"
        + _line(f"  cutoff: {survey.cutoff:.1f} Å", f"GUESS{nearest}")
        + _field(survey)
        + _ATOMS_SYMMETRY
        + _ATOMS_TARGETS
        + (_STRESS_TARGET if survey.periodic else "")
        + _ATOMS_MODEL
        + _structure_data(survey, folder)
        + _ATOMS_TRAIN
    )


def _field(survey: StructureSurvey) -> str:
    """A warning where the structures feel something from outside."""
    fields = [key for key in survey.others if "field" in key.lower()]
    if not fields:
        return ""
    return f"# `{fields[0]}` in the data: a field breaks O(3), so that `hard` cannot be exact; try {{relaxed: 0.1}}\n"


def _structure_data(survey: StructureSurvey, folder: Path) -> str:
    path = _relative(survey.path, folder)
    if not survey.labels:
        return (
            "# The file has no energies, forces or stress; name a file that has.\n"
            "# data:\n"
            "#   train:\n"
            f"#     path: {path}\n"
            "#     labels: {energy: {key: energy, unit: eV}, forces: {key: forces, unit: eV/Å}}\n"
        )
    labels = "".join(
        _line(f"      {target}: {{key: {_scalar(one.key)}, unit: {one.unit}}}", _why(one, survey.frames))
        for target, one in survey.labels.items()
    )
    virials = _virials(survey)
    others = f"    # also in the file: {', '.join(survey.others)}\n" if survey.others else ""
    return (
        "data:\n"
        "  train:\n"
        f"    path: {path}\n"
        f"{others}"
        "    labels:\n"
        f"{labels}{virials}" + _splits(survey.frames) + _isolated(survey)
    )


def _virials(survey: StructureSurvey) -> str:
    """Virials as labels of the stress: outright where the format states what they are, else for the user to judge."""
    if survey.virials is None or not survey.periodic or "stress" in survey.labels:
        return ""
    unit = survey.labels["energy"].unit if "energy" in survey.labels else "eV"
    label = f"stress: {{key: {_scalar(survey.virials)}, unit: {unit}, virial: true}}"
    if survey.path.is_dir():  # of DeePMD
        return _line(f"      {label}", "minus the volume times the stress")
    return _line(f"      # {label}", "if it is minus the volume times the stress")


def _why(label: FoundLabel, frames: int) -> str:
    missing = f"; MISSING in {label.missing} of {frames} structures" if label.missing else ""
    return f"GUESS of the unit: {label.why}{missing}"


def _splits(frames: int) -> str:
    """Parts of the training set that are at least one frame and leave most to train on."""
    if frames < 10:
        return _line("  validation: 1", "so few frames are hardly enough")
    lines = _line("  validation: 0.1", "a fraction or number of frames, or a set of its own: {path: ...}")
    return lines + (_line("  test: 0.1", "never seen in training") if frames >= 30 else "")


def _isolated(survey: StructureSurvey) -> str:
    if survey.isolated and set(survey.isolated) >= set(survey.species):
        unit = survey.labels["energy"].unit
        energies = ", ".join(f"{symbol} {survey.isolated[symbol]:g}" for symbol in survey.species)
        return _line("  isolated_atoms: frames", f"those of the file ({unit}): {energies}")
    lacking = [symbol for symbol in survey.species if symbol not in survey.isolated]
    why = (
        f"isolated atoms of {', '.join(lacking)} are missing"
        if survey.isolated
        else "the file has no isolated atoms"
    )
    return _line("  isolated_atoms: least_squares", f"{why}; or {{{survey.species[0]}: ..., }} in eV")


def spec_for_arrays(survey: ArraySurvey, folder: Path) -> str:
    """A spec for an npz file of states, to stand in `folder`."""
    half = survey.dim // 2
    split = (
        ""
        if half == 1
        else f"; or split them in this order, such as {{q1: {half // 2}, q2: {half - half // 2}}}"
    )
    data = f"path: {_relative(survey.path, folder)}, state: {_scalar(survey.state)}"
    if survey.derivatives is None:
        text = (
            "# The file has no time derivatives of the states, from which the model learns.\n"
            f"# data:\n#   train: {{{data}, labels: {{derivatives: {{key: dz}}}}}}\n#   validation: 0.1\n"
        )
    else:
        label = f"labels: {{derivatives: {{key: {_scalar(survey.derivatives)}}}}}"
        text = f"data:\n  train: {{{data}, {label}}}\n" + _splits(survey.rows)
    return (
        f"# Written by `equic init {survey.path.name}` ({survey.rows} states of {survey.dim} numbers). "
        "Lines marked GUESS need your eye.\n"
        "equic: 1\n"
        f"name: {_name(survey.path)}\n"
        "system:\n"
        "  kind: phase_space\n"
        + _line(f"  coordinates: {{q: {half}}}", f"GUESS: all coordinates, then all momenta{split}")
        + _STATE_REST
        + text
        + _STATE_TRAIN
    )


def spec_for_particles(survey: ParticleSurvey, folder: Path) -> str:
    """A spec for an npz file of particles, to stand in `folder`."""
    results = {*survey.targets, "forces", "energy"}
    known = {key: dim for key, dim in survey.nodes.items() if key not in results and dim in (1, 3)}
    inputs = "".join(
        _line(f"    {_scalar(key)}: {{per: node, rep: {_REPS[dim]}}}", "GUESS: known of each particle")
        for key, dim in known.items()
    )
    wanted = {key: f"{{per: node, rep: {_REPS[survey.nodes[key]]}}}" for key in survey.targets}
    if survey.energy and not wanted:
        wanted = {"energy": "{per: system, rep: 0e}"}
        if survey.forces:
            wanted["forces"] = "{gradient_of: energy, wrt: positions, scale: -1}"
    if not wanted:
        wanted = {"energy": "{per: system, rep: 0e}"}
    targets = "".join(
        _line(f"  {_scalar(key)}: {text}", "GUESS: what is learned") for key, text in wanted.items()
    )
    labels = ", ".join(f"{_scalar(key)}: {{key: {_scalar(key)}}}" for key in wanted)
    data = f"path: {_relative(survey.path, folder)}, labels: {{{labels}}}"
    return (
        f"# Written by `equic init {survey.path.name}` ({survey.rows} systems of {survey.particles} particles). "
        "Lines marked GUESS need your eye.\n"
        "equic: 1\n"
        f"name: {_name(survey.path)}\n"
        "system:\n"
        "  kind: particles\n"
        + (f"  inputs:\n{inputs}" if inputs else "")
        + _line("  interactions: all", "GUESS: or {within: 3.0}, or {nearest: 8}")
        + _ATOMS_SYMMETRY
        + f"targets:\n{targets}"
        "model: {architecture: mace, channels: 16, lmax: 1, hidden_lmax: 1, correlation: 2}\n"
        + f"data:\n  train: {{{data}}}\n"
        + _splits(survey.rows)
        + "train: {epochs: 100, batch: 50, learning_rate: 0.01, ema: 0.99, seed: 1}\n"
    )


def _line(text: str, comment: str) -> str:
    return f"{text:<{_COLUMN - 1}} # {comment}\n"


def _name(path: Path) -> str:
    """A name that the language accepts."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")
    return _scalar(name) if name else "model"


def _relative(path: Path, folder: Path) -> str:
    """The path as the spec writes it: relative to where the spec stands, with slashes."""
    try:
        return _scalar(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
    except ValueError:  # another drive
        return _scalar(path.resolve().as_posix())


def _scalar(text: str) -> str:
    """A text as YAML 1.2 reads it back, quoted where it must be."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS and not _number(text)
    return text if plain else json.dumps(text, ensure_ascii=False)


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
