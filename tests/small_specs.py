"""A small spec for every preset, and inputs for any plan."""

import torch
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.presets import load_preset
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import Compilation, compile_spec
from equic.runtime.model import Model
from equic.runtime.plan import Plan
from equic.runtime.testing.inputs import random_atoms_inputs

_SPECS = {
    "atoms": """
equic: 1
name: small
system: {kind: atoms, species: [H, C, O], cutoff: 4.0 Å}
symmetry: {O(3): hard}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}
  stress: {gradient_of: energy, wrt: strain, unit: eV/Å^3}
model: {architecture: NAME}
""",
    "phase_space": """
equic: 1
name: small
system: {kind: phase_space, coordinates: {q1: 1x1, q2: 1x1}}
constraints: {hamiltonian: {separable: true, masses: [1, 2], integrator: leapfrog}}
targets: {derivatives: {flow_of: hamiltonian}}
model: {architecture: NAME}
""",
}
# the ops of one round of messages, up to `nodes`, for the `graph:` of a spec of atoms
GRAPH_LAYER = """\
    features: {kind: embed, of: species, out: 4}
    vectors: {kind: relative, of: positions}
    lengths: {kind: length, of: vectors}
    radial: {kind: radial, of: lengths, count: 4, envelope: 5}
    harmonics: {kind: sph, of: vectors, lmax: 2}
    sources: {kind: gather, of: features}
    weights: {kind: mlp, of: radial, widths: [8], out: 12}
    messages: {kind: product, of: [sources, harmonics], weights: weights, irreps: 4x0e+4x1o+4x2e}
    nodes: {kind: reduce, of: messages, to: node, norm: average}
"""
# what makes a preset small, where it has the parameter
_SMALL = {"channels": "8", "lmax": "2"}


def compiled(text: str, **options: bool) -> Compilation:
    """A spec text, compiled; wrong specs raise."""
    report = Report()
    done = compile_spec(source_from_text(text, report=report), report, **options)
    report.raise_if_errors()
    return done


def preset_text(name: str, **model: str) -> str:
    """A spec that uses the preset, of its kind; `model` overrides parameters that it has."""
    preset = load_preset(name)
    wanted = {key: value for key, value in {**_SMALL, **model}.items() if key in preset.parameters}
    text = _SPECS[preset.kind].replace("NAME", ", ".join([name, *(f"{k}: {v}" for k, v in wanted.items())]))
    if name == "facet":  # its networks on spheres keep rotations approximately
        text = text.replace("O(3): hard", "O(3): {hard: {within: 0.05}}")
    if name == "equiformer":  # maps about an edge forget mirror images
        text = text.replace("O(3): hard", "SO(3): hard")
    if name == "pet":  # it reads components of vectors
        text = text.replace("O(3): hard", "O(3): free")
    if name == "mlp":  # the vector field itself, without a Hamiltonian
        text = text.replace("constraints:", "#").replace("{flow_of: hamiltonian}", "{}")
    return text


def inputs_for(plan: Plan, *, systems: int = 2, atoms: int = 6, seed: int = 1) -> dict[str, torch.Tensor]:
    """Random structures or states."""
    if plan.kind == "phase_space":
        generator = torch.Generator().manual_seed(seed)
        return {"state": torch.randn(7, plan.system["dim"], dtype=torch.float64, generator=generator)}
    return random_atoms_inputs(plan, systems, atoms, seed=seed, periodic=True)


def with_statistics(model: Model) -> Model:
    """Statistics as data might fix them: seventeen neighbours, everything else random and near one."""
    for name, buffer in model.statistics.named_buffers():
        generator = torch.Generator().manual_seed(len(name))
        buffer.copy_(torch.rand(buffer.shape, generator=generator, dtype=buffer.dtype) + 0.5)
        if "neighbors" in name:
            buffer.fill_(17.0)
    return model
