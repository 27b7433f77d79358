"""Pairs of edges that share a node, ways back along edges, and models that read them."""

import json

import numpy as np
import pytest
import torch
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.build import build_module
from equic.runtime.certify import certify
from equic.runtime.certify.geometry import Geometry, collate
from equic.runtime.certify.subject import Subject
from equic.runtime.emit import emit_torch
from equic.runtime.errors import DataError
from equic.runtime.neighbors.line_graph import derived_of, line_graph, reversed_edges, with_derived
from equic.runtime.plan import Plan
from equic.runtime.sizes import pair_numbers
from equic.runtime.testing.inputs import (
    batch,
    permute_inputs,
    random_atoms_inputs,
    random_rotation,
    rotate_inputs,
)

CUTOFF = 3.5
GRAPH = {
    "vectors": {"kind": "relative", "of": "positions"},
    "lengths": {"kind": "length", "of": "vectors"},
    "u": {"kind": "envelope", "of": "lengths", "shape": 5},
    "harmonics": {"kind": "sph", "of": "vectors", "lmax": 1},
    "directions": {"kind": "keep", "of": "harmonics", "irreps": "1x1o"},
    "one": {"kind": "gather", "of": "directions", "role": "first"},
    "other": {"kind": "gather", "of": "directions", "role": "second"},
    "cosine": {"kind": "inner", "of": ["one", "other"]},
    "bend": {"kind": "mlp", "of": "cosine", "widths": [6], "out": 3},
    "both": {"kind": "gather", "of": "u", "role": "both"},
    "bends": {"kind": "weigh", "of": "bend", "by": "both"},
    "around": {"kind": "reduce", "of": "bends", "to": "edge", "norm": "average"},
    "back": {"kind": "gather", "of": "around", "role": "reverse"},
    "seen": {"kind": "concat", "of": ["around", "back"]},
    "bond": {"kind": "mlp", "of": "seen", "widths": [6], "out": 1},
    "bonds": {"kind": "weigh", "of": "bond", "by": "u"},
    "atom": {"kind": "reduce", "of": "bonds", "to": "node"},
    "node_energy": {"kind": "shift_scale", "of": "atom", "species": "species", "unit": "eV"},
    "energy": {"kind": "reduce", "of": "node_energy", "to": "system"},
}


def compiled(graph, system=None):
    spec = {
        "equic": 1,
        "name": "angles",
        "system": system or {"kind": "atoms", "species": ["H", "O"], "cutoff": f"{CUTOFF} Å"},
        "symmetry": {"O(3)": "hard"},
        "targets": {
            "energy": {"per": "system", "rep": "0e", "unit": "eV"},
            "forces": {"gradient_of": "energy", "wrt": "positions", "scale": -1, "unit": "eV/Å"},
        },
        "model": {"graph": graph},
    }
    report = Report()
    source = source_from_text(json.dumps(spec, ensure_ascii=False), report=report)
    return compile_spec(source, report, debug=True), report


@pytest.fixture(scope="module")
def model():
    done, report = compiled(GRAPH)
    assert done.ok, [str(one) for one in report.diagnostics]
    made = build_module(Plan.from_json(done.plan), seed=2, dtype=torch.float64)
    made.set_statistics(
        {"average_neighbors": 6.3, "atomic_energies": [-1.0, -2.0], "scale": 0.5, "shift": 0.1}
    )
    return made


def test_angles_are_all_pairs_of_edges_into_one_node():
    generator = torch.Generator().manual_seed(0)
    for count in (0, 1, 40):
        edges = torch.randint(0, 9, (2, count), generator=generator)
        expected = [
            (e, f) for e in range(count) for f in range(count) if e != f and edges[1, e] == edges[1, f]
        ]
        found = line_graph(edges)
        assert found.shape == (2, len(expected))
        assert sorted(map(tuple, found.T.tolist())) == expected
        assert found[0].tolist() == sorted(found[0].tolist())
        assert torch.equal(found, line_graph(edges))


def periodic(seed, atoms=3):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 3, (atoms, 3)), rng.integers(0, 2, atoms), np.diag([3.0, 3.2, 3.4])


def test_the_way_back_leads_through_the_opposite_image():
    inputs = batch([periodic(1), periodic(2, 1)], CUTOFF)
    edges, shifts = inputs["edges"], inputs["shifts"]
    order = torch.randperm(edges.shape[1], generator=torch.Generator().manual_seed(3))
    edges, shifts = edges[:, order], shifts[order]
    back = reversed_edges(edges, shifts)
    assert torch.equal(edges[:, back], edges.flip(0))
    assert torch.equal(shifts[back], -shifts)
    assert torch.equal(back[back], torch.arange(len(back)))
    assert reversed_edges(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0, 3)).shape == (0,)


def test_an_edge_without_a_way_back_is_refused():
    inputs = batch([periodic(1)], CUTOFF)
    alone = {**inputs, "edges": inputs["edges"][:, 1:], "shifts": inputs["shifts"][1:]}
    with pytest.raises(DataError, match="no counterpart"):
        with_derived(alone, ("reverse",))


def test_a_batch_has_the_angles_of_its_systems():
    frames = [periodic(1), periodic(2, 4), periodic(3, 2)]
    whole = line_graph(batch(frames, CUTOFF)["edges"])
    parts, start = [], 0
    for frame in frames:
        edges = batch([frame], CUTOFF)["edges"]
        parts.append(line_graph(edges) + start)
        start += edges.shape[1]
    assert torch.equal(whole, torch.cat(parts, 1))


def by_loops(model, inputs):
    """The energy of the graph above, bond by bond."""
    source, target = inputs["edges"]
    lattice = inputs["cell"][inputs["system"][target]]
    v = inputs["positions"][target] - inputs["positions"][source]
    v = v - torch.einsum("ek,ekx->ex", inputs["shifts"], lattice)
    r = v.norm(dim=1)
    x = r / CUTOFF
    u, unit = 1 - 21 * x**5 + 35 * x**6 - 15 * x**7, v / r[:, None]
    sums = []
    for e in range(len(r)):
        terms = [
            u[e] * u[f] * model.layer("bend")((3 * unit[e] @ unit[f])[None])
            for f in range(len(r))
            if f != e and target[e] == target[f]
        ]
        sums.append(sum(terms, torch.zeros(3)) / 6.3)
    ends = [(int(a), int(b), *s) for a, b, s in zip(source, target, inputs["shifts"].tolist(), strict=True)]
    total = torch.zeros(len(inputs["species"]), dtype=torch.float64)
    for e, (a, b, *s) in enumerate(ends):
        back = next(k for k, one in enumerate(ends) if one == (b, a, *(-n for n in s)))
        bond = model.layer("bond")(torch.cat((sums[e], sums[back])))[0]
        total = total.index_add(0, target[e : e + 1], (bond * u[e])[None])
    return (torch.tensor([-1.0, -2.0])[inputs["species"]] + 0.5 * total + 0.1).sum()


def test_a_model_of_angles_is_a_sum_over_them(model):
    assert derived_of(model.plan) == model.derived == ("angles", "reverse")
    for inputs in (batch([periodic(1)], CUTOFF), random_atoms_inputs(model.plan, 1, 6, seed=1)):
        inputs["positions"].requires_grad_(True)
        expected = by_loops(model, inputs)
        (gradient,) = torch.autograd.grad(expected, inputs["positions"])
        found = model({**inputs, "positions": inputs["positions"].detach()})
        assert float(found["energy"][0]) == pytest.approx(expected.item(), abs=1e-11)
        torch.testing.assert_close(found["forces"], -gradient, atol=1e-10, rtol=1e-10)


def test_it_does_not_depend_on_the_order_of_atoms_or_on_axes(model):
    inputs = random_atoms_inputs(model.plan, 2, 6, seed=4, periodic=True)
    plain = model(inputs)["energy"]
    order = torch.tensor([3, 1, 0, 5, 4, 2, 8, 7, 11, 6, 10, 9])
    turned = rotate_inputs(permute_inputs(inputs, order), random_rotation(1, improper=True))
    torch.testing.assert_close(model(turned)["energy"], plain, atol=1e-11, rtol=0)


def test_it_is_certified_and_as_smooth_as_its_envelope(model, monkeypatch):
    monkeypatch.setattr("equic.runtime.certify.measure.dynamics_items", lambda *_: [])
    assert model.plan.smoothness == {"energy": 2, "forces": 1, "node_energy": 2}
    certificate = certify(model, dtypes=["float64"], group_elements=2)
    assert certificate.ok, certificate.failures


def test_emitted_code_makes_its_own_angles(model, tmp_path):
    namespace = {}
    exec(compile(emit_torch(model.plan), "emitted", "exec"), namespace)
    made = namespace["Model"]().to(torch.float64)
    made.load_state_dict(model.state_dict())
    inputs = random_atoms_inputs(model.plan, 2, 5, seed=4, periodic=True)
    for name, value in model(inputs).items():
        torch.testing.assert_close(made(inputs)[name], value, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("name", "change", "code", "words"),
    [
        ("one", {"of": "positions"}, "T208", "positions go to edges"),
        ("one", {"of": "species"}, "T223", "labels"),
        ("both", {"of": "directions"}, "T202", "multiplies invariants"),
        ("atom", {"of": "bends"}, "T208", "values on edges"),
        ("around", {"norm": "mean"}, "T208", "does not fit"),
        ("bends", {"by": "u"}, "T208", "one set"),
    ],
)
def test_what_does_not_fit_is_refused(name, change, code, words):
    _, report = compiled({**GRAPH, name: {**GRAPH[name], **change}})
    assert report.errors[0].code == code
    assert words in report.errors[0].message + str(report.errors[0].help)


# ------------------------------------------------------------------------------------------------- sizes


def test_what_a_call_costs_counts_pairs_of_edges(model):
    """Five atoms within one cutoff: every number of every step on edges and pairs of them, as there are."""
    rng = np.random.default_rng(0)
    places = rng.normal(size=(5, 3))
    places *= 1.5 / np.linalg.norm(places, axis=1, keepdims=True)
    item = Geometry(np.zeros(5, dtype=np.int64), places, np.zeros((3, 3)), np.zeros(3, dtype=bool))
    edges = collate([item], model.plan.system, torch.device("cpu")).inputs["edges"]
    rows = {"edge": edges.shape[1], "angle": line_graph(edges).shape[1]}
    assert rows == {"edge": 20, "angle": 60}
    made = sum(step.dim * rows.get(step.index, 0) for step in model.plan.steps)
    assert Subject(model, "float64").edge_bytes(item) == 8 * made
    assert made > 2 * sum(step.dim * 20 for step in model.plan.steps if step.index == "edge")


def test_attention_over_tokens_is_as_large_as_its_pairs():
    plan = Plan.from_json(compiled_pet().plan)
    few, many = (max(pair_numbers(plan, edges, 10)) for edges in (100.0, 1000.0))
    assert many > 50 * few  # as the square of the edges of an atom


def compiled_pet():
    text = """\
equic: 1
name: pet
system: {kind: atoms, species: [H, O], cutoff: 4.0 Å}
symmetry: {O(3): free}
targets: {energy: {per: system, rep: 0e, unit: eV}}
model: {architecture: pet, channels: 8, node: 8, heads: 2, forward: 8, layers: 1, depth: 1, readout: [8]}
"""
    report = Report()
    return compile_spec(source_from_text(text, report=report), report, debug=True)
