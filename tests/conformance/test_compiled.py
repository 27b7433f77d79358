"""A whole step in C gives the numbers of the layers as they are written, whatever runs in it and beside it."""

import ctypes
import re
from concurrent.futures import ThreadPoolExecutor

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
from equic.runtime.kernels import chunks, compiled, find_toolchain, gemm
from equic.runtime.kernels.c_source import prelude
from equic.runtime.kernels.compiled import binding, build, folding
from equic.runtime.kernels.compiled.pieces import pieces
from equic.runtime.kernels.gemm import PRODUCTS
from equic.runtime.kernels.ops import pointer, toolchain
from equic.runtime.kernels.runner import runner_for
from equic.runtime.neighbors import model_inputs
from equic.runtime.plan import Plan
from equic.runtime.tabulate import build_tables

pytestmark = pytest.mark.skipif(find_toolchain() is None, reason="no C compiler")

SPEC = """\
equic: 1
name: compiled
system: {kind: atoms, species: [H, C, O], cutoff: 3.5 Å}
symmetry: {O(3): hard}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1}
  stress: {gradient_of: energy, wrt: strain}
"""
MODELS = {
    "mace": {"architecture": "mace", "channels": 5, "hidden_lmax": 1, "lmax": 2, "layers": 2},
    "nequip": {"architecture": "nequip", "channels": 4, "lmax": 2, "layers": 3},
    "schnet": {"architecture": "schnet", "channels": 8},
    "painn": {"architecture": "painn", "channels": 8},
    "allegro": {"architecture": "nequip_allegro", "channels": 3, "lmax": 2, "layers": 2, "scalars": 8},
    "densities": {"architecture": "mace", "channels": 24, "hidden_lmax": 0, "lmax": 2, "radial": [4]},
}
STATISTICS = {"average_neighbors": 3.7, "scale": 1.4, "shift": -0.3, "atomic_energies": [-1.0, 2.0, 0.5]}
TARGETS = ("energy", "forces", "stress")


def made(name, kernels="c", dtype=torch.float64, models=MODELS):
    report = Report()
    done = compile_spec(
        source_from_text(SPEC + yaml.safe_dump({"model": models[name]}), report=report), report
    )
    report.raise_if_errors()
    plan = Plan.from_json(done.plan)
    model = build_module(plan, seed=3, dtype=dtype, kernels=kernels)
    model.set_statistics({key: value for key, value in STATISTICS.items() if key in plan.statistics})
    return model


def frames():
    """A crystal, and in boxes a molecule and an atom without edges."""
    found = [
        bulk("C", "diamond", a=3.6, cubic=True),
        molecule("CH3CH2OH", cell=[12] * 3, pbc=True),
        Atoms("O", cell=[12] * 3, pbc=True),
    ]
    for number, atoms in enumerate(found):
        atoms.rattle(0.05, seed=number)
    return found


def step_of(model):
    """The compiled step that a call has used."""
    return runner_for(model).compiled[model.dtype]


def step_sizes(inputs):
    """Nodes, edges, systems."""
    return len(inputs["positions"]), inputs["edges"].shape[1], len(inputs["cell"])


def assert_same(found, expected, tolerance=1e-12):
    for name in TARGETS:
        scale = expected[name].abs().max()
        assert (found[name] - expected[name]).abs().max() <= tolerance * scale, name


@pytest.mark.parametrize("tables", [False, True], ids=["networks", "tables"])
@pytest.mark.parametrize("name", ["mace", "nequip", "allegro"])
def test_nothing_runs_beside_c_in_the_usual_models(name, tables):
    model = made(name)
    model = build_tables(model, 1e-6) if tables else model
    model(model_inputs(frames(), model.plan))
    assert step_of(model).text.order == (0,)


@pytest.fixture
def with_threads():
    """How many threads there are from now on, to the end of the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("tables", [False, True], ids=["networks", "tables"])
@pytest.mark.parametrize("name", MODELS)
def test_nodes_may_have_their_turns_in_blocks(name, tables, monkeypatch, with_threads):
    """Of one node, and of five, where some are in none of the three systems and some in two of them; one thread has
    all of them, three have some each, with rooms of their own."""
    if tables and name in ("schnet", "painn"):
        pytest.skip("nothing of it is tabulated")
    model = made(name)
    model = build_tables(model, 1e-6) if tables else model
    inputs = model_inputs(frames(), model.plan)
    expected = model(inputs)
    step = step_of(model)
    assert "FIRST += BLOCK" in step.text.source.text
    most = step.bytes(*step_sizes(inputs))
    monkeypatch.setattr(binding, "BLOCK_BYTES", 0)
    monkeypatch.setattr(binding, "MIN_SHARE", 1)
    for block, threads in ((1, 1), (5, 1), (1, 3), (5, 3)):
        with_threads(threads)
        monkeypatch.setattr(binding, "MIN_BLOCK", block)
        assert step.binding.block(*step_sizes(inputs)[:2]) == block
        assert threads > 1 or step.bytes(*step_sizes(inputs)) < most
        for workspace in step.binding.idle:
            workspace.fill_(255)  # no numbers: what the call before left there is not to be read
        assert_same(model(inputs), expected, 1e-13)
        order = torch.randperm(inputs["edges"].shape[1], generator=torch.Generator().manual_seed(block))
        mixed = {"edges": inputs["edges"][:, order], "shifts": inputs["shifts"][order]}
        assert_same(model(inputs | mixed), expected, 1e-13)


@pytest.mark.parametrize("tables", [False, True], ids=["networks", "tables"])
@pytest.mark.parametrize("name", ["mace", "densities", "nequip"])
@pytest.mark.parametrize(("worth", "chosen"), [(0, True), (1e9, False)], ids=["folded", "one by one"])
def test_linear_maps_that_follow_each_other_may_be_one(worth, chosen, name, tables, monkeypatch):
    """With matrices for each species, and for all; behind a density there are three of them."""
    monkeypatch.setattr(folding, "WORTH", worth)
    models = MODELS | {"nequip": MODELS["nequip"] | {"layers": 1}}
    model, reference = made(name, models=models), made(name, "reference", models=models)
    model = build_tables(model, 1e-6) if tables else model
    reference = model.exact if tables else reference
    inputs = model_inputs(frames(), model.plan)
    tolerance = 1e-4 if tables else 1e-12
    assert_same(model(inputs), reference(inputs), tolerance)
    found = re.findall(r"const int CHOICE\d+ = (.*);", step_of(model).text.source.text)
    assert (len(found) > 0) == (name != "nequip")
    limits = [int(one.removeprefix("NODES >= ")) for one in found]
    assert all((limit <= len(inputs["positions"])) == chosen for limit in limits)


@pytest.mark.parametrize("name", ["mace", "nequip", "painn", "densities", "allegro"])
def test_layers_may_run_by_their_rules_instead(name, monkeypatch):
    """Half of the kinds of layers, and the other half: parts of C between them, on the way there and back."""
    reference = made(name, "reference")
    inputs = model_inputs(frames(), reference.plan)
    expected = reference(inputs)
    assert_same(made(name)(inputs), expected)
    monkeypatch.setattr(binding, "BLOCK_BYTES", 0)
    monkeypatch.setattr(binding, "MIN_BLOCK", 7)
    kinds = {type(layer) for layer in runner_for(made(name)).layers.values()} & set(build.EMITTERS)
    ends = {"Input", "EdgeOrder", "Relative", "AllSpecies"}
    others = sorted((kind for kind in kinds if kind.__name__ not in ends), key=lambda kind: kind.__name__)
    for half in (others[::2], others[1::2]):
        with monkeypatch.context() as patch:
            for kind in half:
                patch.delitem(build.EMITTERS, kind)
            model = made(name)
            assert_same(model(inputs), expected)
            ruled = {item.step.name for item in step_of(model).text.order if not isinstance(item, int)}
            without = [step for step in model.fused if type(model.kernel(step.name)) in half]
            assert ruled >= {step.name for step in without}


def test_stress_is_per_volume_where_there_is_one():
    """Of a cell whose vectors are left-handed, and of a molecule without one."""
    model, reference = made("mace"), made("mace", "reference")
    mirrored = frames()[0]
    mirrored.set_cell(mirrored.cell[[1, 0, 2]])
    inputs = model_inputs([mirrored, molecule("H2O")], model.plan)
    found = model(inputs)
    assert_same(found, reference(inputs))
    assert found["stress"][0].abs().max() > 0
    assert torch.equal(found["stress"][1], torch.zeros(3, 3, dtype=torch.float64))


def test_weights_and_statistics_are_read_at_each_call():
    model, reference = made("mace"), made("mace", "reference")
    inputs = model_inputs(frames(), model.plan)
    model(inputs)
    for one in (model, reference):
        one.set_statistics({"average_neighbors": 5.1, "scale": 0.7})
        with torch.no_grad():
            for value in one.parameters():
                value.data = value.data * 1.1
    assert_same(model(inputs), reference(inputs))
    assert_same(model.to(torch.float32)(inputs), reference(inputs), 1e-4)


def test_steps_of_other_sizes_share_the_workspace():
    model = made("mace")
    batches = [model_inputs(one, model.plan) for one in (frames(), frames()[1:2], frames()[2:], frames() * 2)]
    expected = [made("mace", "reference")(batch) for batch in batches]
    for number in (0, 1, 2, 3, 0, 2):
        found = model(batches[number])
        assert_same(found, expected[number])
    kept = model(batches[0])["forces"]
    before = kept.clone()
    model(batches[3])
    assert torch.equal(kept, before)  # what a caller has is the caller's


def test_several_threads_may_use_one_model():
    model = made("nequip")
    batches = [model_inputs([one], model.plan) for one in frames()[:2] * 4]
    expected = [model(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for found, known in zip(pool.map(model, batches), expected, strict=True):
                assert all(torch.equal(found[name], known[name]) for name in TARGETS)


def test_threads_have_blocks_of_their_own(with_threads):
    """Which thread was the first does not change a bit, and how many there are no more than rounding does."""
    model = made("mace", dtype=torch.float32)
    inputs = model_inputs([frames()[0] * (3, 3, 3), *frames()], model.plan)
    expected = model(inputs)
    with_threads(3)
    found = [model(inputs) for _ in range(20)]
    places = step_of(model).binding._last[1]
    assert places.team == 3
    for other in found:
        assert all(torch.equal(found[0][name], other[name]) for name in TARGETS)
        assert_same(other, expected, 1e-5)


def test_threads_share_kernels_where_products_are_not_their_own(with_threads, monkeypatch):
    """BLAS that cannot be told to leave a thread alone is called by one thread."""
    monkeypatch.setattr(binding, "alone", lambda: None)
    model = made("mace")
    inputs = model_inputs([frames()[0] * (3, 3, 3), *frames()], model.plan)
    expected = model(inputs)
    with_threads(3)
    assert_same(model(inputs), expected)
    assert step_of(model).binding._last[1].team == 1


def test_products_outside_of_a_step_go_by_as_many_threads_as_before(with_threads):
    with_threads(3)
    found = gemm.alone()
    if found is None:
        pytest.skip("torch's BLAS is not MKL")
    tell = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(found.value)
    before = tell(2)
    model = made("mace")
    model(model_inputs(frames(), model.plan))
    assert step_of(model).binding._last[1].team == 3
    assert tell(before) == 2


def test_one_thread_adds_gradients_up_at_once(with_threads):
    """Several leave them for each edge: room that one thread does not need."""
    model = made("mace")
    inputs = model_inputs(frames(), model.plan)
    needed = {}
    for count in (1, 2):
        with_threads(count)
        model(inputs)
        needed[count] = step_of(model).bytes(*step_sizes(inputs))
    # vectors of five channels and as many scalars, for each edge
    assert needed[2] - needed[1] >= 8 * 20 * inputs["edges"].shape[1]


@pytest.mark.parametrize(
    ("field", "value", "error", "text"),
    [
        ("edges", 99, DataError, "edge 1 names node 99, and there are 9"),
        ("edges", -1, DataError, "edge 1 names node -1"),
        ("species", 3, IndexError, "atom 1 is of a species that is not among"),
        ("system", 1, DataError, "atom 1 is of system 1, and there are 1"),
    ],
)
def test_indices_that_lead_outside_are_refused(field, value, error, text):
    model = made("mace")
    inputs = model_inputs(frames()[1:2], model.plan)
    inputs[field] = inputs[field].clone()
    inputs[field][..., 1] = value
    with pytest.raises(error, match=text):
        model(inputs)


def test_inputs_of_other_types_are_served_without():
    """Shifts as whole numbers, edges in another order in memory: what C does not read, the rules do."""
    model, reference = made("mace"), made("mace", "reference")
    inputs = model_inputs(frames(), model.plan)
    transposed = {"edges": inputs["edges"].t().contiguous().t()}
    for change in ({"shifts": inputs["shifts"].to(torch.int64)}, transposed):
        assert_same(model(inputs | change), reference(inputs))


def test_steps_too_large_for_the_workspace_run_in_chunks(monkeypatch):
    model = made("mace")
    inputs = model_inputs(frames(), model.plan)
    expected = model(inputs)
    monkeypatch.setattr(chunks, "CHUNK", 16)
    calls = []
    monkeypatch.setattr(compiled.CompiledStep, "__call__", lambda self, context: calls.append(1))
    for name in ("WHOLE", "WHOLE_ATOM"):
        monkeypatch.setattr(chunks, name, 0)
    assert_same(model(inputs), expected)
    assert not calls


def silu_slope(x):
    return torch.sigmoid(x) * (1 + x * torch.sigmoid(-x))


def sigmoid_slope(x):
    return torch.sigmoid(x) * torch.sigmoid(-x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("name", "function", "slope"),
    [("silu", torch.nn.functional.silu, silu_slope), ("sigmoid", torch.sigmoid, sigmoid_slope)],
)
def test_activations_and_their_slopes(name, function, slope, dtype):
    text = f"""
void value(int64_t n, const T *x, T *y) {{ act_{name}(n, 1, 2, x, y); }}
void slope(int64_t n, const T *x, const T *g, T *y) {{ slope_{name}(n, 1, 2, x, g, y); }}
"""
    library = toolchain().load(prelude(dtype) + PRODUCTS + pieces(dtype) + text)
    ends = torch.tensor([0.0, -0.0, 1e-30, 90.0, -90.0, 800.0, -800.0, 1e4, -1e4], dtype=dtype)
    x = torch.cat((torch.linspace(-40, 40, 4001, dtype=dtype), ends))
    g, exact = torch.cos(x), x.to(torch.float64)
    expected = 2 * function(exact), 2 * g * slope(exact)
    found = torch.empty_like(g), torch.empty_like(g)
    library.value(ctypes.c_int64(len(x)), pointer(x), pointer(found[0]))
    library.slope(ctypes.c_int64(len(x)), pointer(x), pointer(g), pointer(found[1]))
    for ours, known in zip(found, expected, strict=True):
        assert bool(((ours - known).abs() <= 8 * torch.finfo(dtype).eps * known.abs().clamp_min(1.0)).all())
    nothing = torch.full((3,), float("nan"), dtype=dtype)
    library.value(ctypes.c_int64(3), pointer(nothing), pointer(found[0]))
    assert found[0][:3].isnan().all()
