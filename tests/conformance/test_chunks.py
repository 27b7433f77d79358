"""Edges in chunks give the numbers of all edges at once, in the memory of a chunk."""

import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk, molecule
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.build import build_module
from equic.runtime.errors import DataError
from equic.runtime.kernels import chunks, find_toolchain, rules
from equic.runtime.kernels import runner as running
from equic.runtime.kernels.runner import runner_for
from equic.runtime.layers import LAYERS
from equic.runtime.neighbors import model_inputs
from equic.runtime.plan import Plan, Step

pytestmark = pytest.mark.skipif(find_toolchain() is None, reason="no C compiler")

SPEC = """\
equic: 1
name: chunks
system: {kind: atoms, species: [H, C, O], cutoff: 4.0 Å}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1}
  stress: {gradient_of: energy, wrt: strain}
"""
MODELS = {
    "mace": {"architecture": "mace", "channels": 6, "hidden_lmax": 1, "lmax": 2, "layers": 2},
    "nequip": {"architecture": "nequip", "channels": 4, "lmax": 1, "layers": 2},
    "schnet": {"architecture": "schnet", "channels": 8},
    "painn": {"architecture": "painn", "channels": 8},
    # many channels for few hidden numbers: the sums of the first layer become densities
    "densities": {"architecture": "mace", "channels": 24, "hidden_lmax": 0, "lmax": 2, "radial": [4]},
    "facet": {"architecture": "facet", "channels": 4, "layers": 2},
}


@pytest.fixture(autouse=True)
def no_room(monkeypatch):
    """Steps of more than a few edges run in chunks, however little they would take at once."""
    for name in ("WHOLE", "WHOLE_ATOM"):
        monkeypatch.setattr(chunks, name, 0)


def made(name, species="[H, C, O]"):
    report = Report()
    text = SPEC.replace("[H, C, O]", species) + yaml.safe_dump({"model": MODELS[name]})
    done = compile_spec(source_from_text(text, report=report), report)
    report.raise_if_errors()
    plan = Plan.from_json(done.plan)
    model = build_module(plan, seed=3, dtype=torch.float64, kernels="c")
    statistics = {"average_neighbors": 3.7, "scale": 1.4, "shift": -0.3}
    model.set_statistics({key: value for key, value in statistics.items() if key in plan.statistics})
    return model


def frames(species="[H, C, O]"):
    """A crystal, and in boxes a molecule and an atom without edges, edges in no order."""
    found = [bulk("C", "diamond", a=3.6, cubic=True), Atoms("C", cell=[12] * 3, pbc=True)]
    if species == "[H, C, O]":
        found.insert(1, molecule("CH3CH2OH", cell=[12] * 3, pbc=True))
    for number, atoms in enumerate(found):
        atoms.rattle(0.05, seed=number)
    return found


def shuffled(inputs):
    order = torch.randperm(inputs["edges"].shape[1], generator=torch.Generator().manual_seed(0))
    return inputs | {"edges": inputs["edges"][:, order].contiguous(), "shifts": inputs["shifts"][order]}


@pytest.mark.parametrize(
    ("name", "species"), [*((name, "[H, C, O]") for name in MODELS), ("densities", "[C]")], ids=str
)
def test_chunks_give_the_numbers_of_all_edges_at_once(name, species, monkeypatch):
    """Energy, forces and stress, whether a chunk is one node, some, or many."""
    model = made(name, species)
    inputs = shuffled(model_inputs(frames(species), model.plan))
    assert runner_for(model) is not None
    whole = model(inputs)
    for size in (1, 7, inputs["edges"].shape[1] // 5):
        monkeypatch.setattr(chunks, "CHUNK", size)
        parts = model(inputs)
        for key, value in whole.items():
            assert (parts[key] - value).abs().max() <= 1e-12 * value.abs().max(), (key, size)


@pytest.mark.parametrize("name", MODELS)
def test_every_network_of_lengths_is_in_a_segment(name):
    runner = runner_for(made(name))
    wide = {
        step.name for step in runner.parts.steps if step.index == "edge" and step.layer in ("mlp", "linear")
    }
    assert runner.parts.segments
    assert not wide


@pytest.mark.parametrize("blas", [True, False])
def test_a_density_is_a_segment_where_torch_shows_its_blas(blas, monkeypatch):
    for module in (chunks, rules):
        monkeypatch.setattr(module, "has_blas", lambda: blas)
    model = made("densities", "[C]")
    inputs = model_inputs(frames("[C]"), model.plan)
    whole = model(inputs)["forces"]
    assert ("density" in {one.sum.layer for one in runner_for(model).parts.segments.values()}) == blas
    monkeypatch.setattr(chunks, "CHUNK", 7)
    torch.testing.assert_close(model(inputs)["forces"], whole, rtol=0.0, atol=1e-12)


def test_what_others_read_too_stays_whole():
    model = made("mace")
    layers = {step.name: model.kernel(step.name) for step in model.fused}
    first, *others = (step.name for step in model.fused if step.layer == "mlp" and step.index == "edge")
    program, segments = chunks.in_segments(model.fused, layers, {first})
    assert len(segments) == len(others)
    assert first in {step.name for step in program}
    twice = Step("twice", "scale", (others[0],), {"by": 2.0}, "edge", "", "1", 0)
    steps = (*model.fused[:-1], twice, model.fused[-1])
    program, segments = chunks.in_segments(steps, layers | {"twice": LAYERS["scale"]({"by": 2.0})}, set())
    assert others[0] in {step.name for step in program}
    assert {step.name for one in segments.values() for step in one.steps}.isdisjoint({others[0], "twice"})


def test_chunks_hold_every_edge_once_under_numbers_of_their_own(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 20)
    generator = torch.Generator().manual_seed(1)
    edges = torch.randint(0, 30, (2, 300), generator=generator)
    edges[1][edges[1] == 4] = 5  # a node without edges
    found = chunks.chunks_of(edges, 40)
    assert torch.equal(torch.cat([one.edges for one in found]).sort().values, torch.arange(300))
    assert [one.first for one in found] + [40] == [0] + [one.last for one in found]
    for one in found:
        assert torch.equal(one.nodes[one.ends[0]], edges[0][one.edges])
        assert torch.equal(one.nodes[one.ends[1]], edges[1][one.edges])
        assert len(one.nodes.unique()) == len(one.nodes)
        assert torch.equal(one.nodes[: one.last - one.first], torch.arange(one.first, one.last))
        assert len(one.edges) <= 20 or one.last - one.first == 1
    with pytest.raises(DataError, match="names node"):
        chunks.chunks_of(edges, 20)


def test_threads_do_not_change_a_bit_of_chunks(monkeypatch):
    """Chunks of some hundred edges: of a few, BLAS splits the inner sums of products among its threads."""
    monkeypatch.setattr(chunks, "CHUNK", 400)
    model = made("mace").to(torch.float32)
    inputs = shuffled(model_inputs([bulk("C", "diamond", a=3.6, cubic=True) * (2, 2, 2)], model.plan))
    before = torch.get_num_threads()
    try:
        found = []
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(model(inputs))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_few_edges_run_as_they_are(monkeypatch):
    model = made("schnet")
    inputs = model_inputs(frames(), model.plan)
    monkeypatch.setattr(running, "chunks_of", lambda *_: pytest.fail("chunks of few edges"))
    model(inputs)


def peak(model, inputs):
    """The most bytes of tensors alive at once in a call, by torch's own account of its allocator."""
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        model(inputs)
    alive = highest = 0
    events = profile.profiler.kineto_results.events()
    for event in sorted((one for one in events if one.name() == "[memory]"), key=lambda one: one.start_ns()):
        alive += event.nbytes()
        highest = max(highest, alive)
    return highest


def test_nothing_as_large_as_edges_times_weights_stays(monkeypatch):
    """What an edge adds to the peak of a call is less than its weights of messages alone."""
    model = made("mace", "[C]")
    weights = sum(step.dim for step in model.fused if step.layer == "mlp" and step.index == "edge")
    cubes = [bulk("C", "diamond", a=3.6, cubic=True) * (n, n, n) for n in (2, 3)]
    small, large = (model_inputs([cube], model.plan) for cube in cubes)
    more = large["edges"].shape[1] - small["edges"].shape[1]
    model(small)
    whole = (peak(model, large) - peak(model, small)) / more
    monkeypatch.setattr(chunks, "CHUNK", 500)
    parts = (peak(model, large) - peak(model, small)) / more
    assert whole > 8 * weights
    assert parts < whole / 5
