"""The filters of DeepPot-SE: what they are at the cutoff, and lists of numbers that do not fit the species."""

import pytest
import torch
from ase.build import molecule
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.compiler.summary import summarize
from equic.runtime.build import build_module
from equic.runtime.layers.filters import Filters
from equic.runtime.neighbors import model_inputs
from equic.runtime.plan import Plan
from equic.runtime.tabulate import build_tables

PARAMS = {
    **{"species": 2, "one_side": False, "widths": [3, 6], "lmax": 1, "act": "tanh", "timestep": True},
    **{"mean": [0.3, -0.2], "size": [0.5, 0.7], "spread": [0.4, 0.9], "sel": [3, 5]},
}
SPEC = """
equic: 1
name: t
system: {kind: atoms, species: [H, O], cutoff: 4 Å}
symmetry: {O(3): hard}
targets: {energy: {per: system, rep: 0e, unit: eV}}
"""


def filters():
    layer = Filters(PARAMS).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    layer.initialise(generator)
    with torch.no_grad():
        for value in layer.parameters():
            value.add_(torch.randn(value.shape, generator=generator, dtype=value.dtype))
    return layer


def test_they_are_zero_where_the_radial_function_is():
    layer, pairs = filters(), torch.arange(4)
    assert float(layer(torch.zeros(4, 1, dtype=torch.float64), pairs).abs().max()) < 1e-14
    assert float(layer(torch.full((4, 1), 0.5, dtype=torch.float64), pairs).abs().min()) > 1e-3


def test_free_places_hold_the_mean_over_them_of_what_the_network_makes_of_zero():
    layer = filters()
    for centre in range(2):
        c = torch.tensor([[-PARAMS["mean"][centre] / PARAMS["size"][centre]]], dtype=torch.float64)
        parts = [layer.network(c, torch.tensor([2 * source + centre]))[0] * c[0, 0] for source in range(2)]
        torch.testing.assert_close(layer.unfilled[centre], (3 * parts[0] + 5 * parts[1]) / 8)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("mean: [0.1, 0.2, 0.3]", "`mean` has 3 numbers, but there are 2 species"),
        ("sel: [10]", "`sel` has 1 numbers, but there are 2 species"),
        ("size: [0.1, no]", "`size` must be a number of at least 0.001, or a list of them"),
        ("size: 0", "`size` must be a number of at least 0.001, or a list of them"),
    ],
)
def test_numbers_that_do_not_fit_are_reported(key, says):
    report = Report()
    source = source_from_text(SPEC + f"model: {{architecture: deepmd_se_e2_a, {key}}}\n", report=report)
    compile_spec(source, report)
    assert says in report.diagnostics[0].message


def test_parameters_are_counted_as_they_are_built():
    """With time steps, which only layers with a shortcut have, and without."""
    for timestep in ("none", "both"):
        report = Report()
        text = (
            SPEC
            + f"model: {{architecture: deepmd_se_e2_a, embedding: [2, 4, 5], axis: 2, timestep: {timestep}}}\n"
        )
        done = compile_spec(source_from_text(text, report=report), report)
        model = build_module(Plan.from_json(done.plan))
        assert summarize(done).parameters == sum(value.numel() for value in model.parameters())


def test_tables_in_their_place_keep_what_is_borrowed_of_them():
    """A tabulated model still knows what stands in free places."""
    section = (
        "architecture: deepmd_se_e2_a, embedding: [4, 8], axis: 3, fitting: [10], mean: 0.1, sel: [40, 30]"
    )
    report = Report()
    text = SPEC.replace("unit: eV}}", "unit: eV}, forces: {gradient_of: energy, wrt: positions, scale: -1}}")
    text += f"model: {{{section}}}\ndeploy: {{tabulate: {{radial: 1e-6}}}}\n"
    done = compile_spec(source_from_text(text, report=report), report)
    report.raise_if_errors()
    exact = build_module(Plan.from_json(done.plan), dtype=torch.float64)
    made = build_tables(exact)
    assert {"table", "unfilled"} <= {step.layer for step in made.plan.steps}
    atoms = molecule("H2O2")
    atoms.rattle(0.05, seed=1)
    inputs = model_inputs([atoms], exact.plan)
    ours, theirs = made(inputs), exact(inputs)
    spread = theirs["forces"].square().mean().sqrt()
    assert 0 < (ours["forces"] - theirs["forces"]).abs().max() <= 1e-5 * spread
