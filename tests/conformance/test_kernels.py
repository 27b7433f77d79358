"""Every kernel against the layers that it stands for: values and three orders of derivatives."""

import json

import pytest
import torch
from equic.runtime.build import build_module
from equic.runtime.errors import DataError
from equic.runtime.kernels import find_toolchain
from equic.runtime.kernels.density import DensityKernel
from equic.runtime.kernels.edges import edge_order
from equic.runtime.kernels.gemm import has_blas
from equic.runtime.kernels.message import Message
from equic.runtime.kernels.power import PowerKernel
from equic.runtime.kernels.rules import rule_for
from equic.runtime.layers import LAYERS
from equic.runtime.neighbors import model_inputs
from equic.runtime.testing.plans import mace_plan

from .messages import MACE, UNEQUAL, assert_same, derivatives, draw, message_case

pytestmark = pytest.mark.skipif(find_toolchain() is None, reason="no C compiler")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(
    ("params", "nodes", "edges"),
    [(UNEQUAL, 7, 60), (UNEQUAL, 1, 3), (UNEQUAL, 4, 0), (UNEQUAL, 0, 0), (MACE, 5, 40)],
    ids=["unequal", "one node", "no edges", "nothing", "mace"],
)
def test_a_message_is_gather_product_reduce(params, nodes, edges, dtype):
    layers, fused, arguments = message_case(Message, edge_order, params, nodes, edges, dtype)
    assert_same(derivatives(fused, arguments), derivatives(layers, arguments), dtype)


@pytest.mark.parametrize("norm", ["sum", "average", "root_average"])
def test_a_message_divides_as_the_sum_does(norm):
    layers, fused, arguments = message_case(Message, edge_order, UNEQUAL, 5, 30, torch.float64, norm=norm)
    assert_same(derivatives(fused, arguments), derivatives(layers, arguments), torch.float64)


def test_second_derivatives_in_one_kernel_are_those_of_the_composition():
    """Without a graph to keep, one kernel makes the derivatives along all arguments at once."""
    layers, fused, arguments = message_case(Message, edge_order, UNEQUAL, 6, 50, torch.float64)
    generator = torch.Generator().manual_seed(5)
    along = [draw(generator, *value.shape, dtype=torch.float64) for value in arguments]
    for chosen in ((0, 1, 2), (1, 2), (0,), (1,), (2,)):
        found = []
        for function in (fused, layers):
            out = function(*arguments)
            first = torch.autograd.grad((out * out).sum(), [arguments[i] for i in chosen], create_graph=True)
            sums = sum((value * along[i]).sum() for i, value in zip(chosen, first, strict=True))
            found.append(torch.autograd.grad(sums, arguments, materialize_grads=True))
        assert_same(*found, torch.float64)


def test_threads_do_not_change_a_bit():
    _, fused, arguments = message_case(Message, edge_order, MACE, 30, 400, torch.float32)
    before = torch.get_num_threads()
    try:
        found = []
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(derivatives(fused, arguments, orders=2))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_the_edge_order_sorts_and_refuses_what_is_not_there():
    edges = torch.tensor([[2, 0, 1, 0], [0, 2, 0, 2]])
    assert edge_order(edges, 3).tolist() == [[0, 2, 2, 4, 0, 2, 1, 3], [0, 2, 3, 4, 1, 3, 2, 0]]
    for wrong in (3, -1):
        with pytest.raises(DataError, match="edge 1 names node"):
            edge_order(torch.tensor([[0, wrong], [0, 0]]), 3)


POWERS = {
    "three degrees": {"in": "5x0e+5x1o+5x2e", "out": "5x0e+5x1o", "order": 3, "species": 2, "relax": None},
    "relaxed": {
        "in": "17x0e+17x1o",
        "out": "17x0e+17x1o",
        "order": 2,
        "species": 3,
        "relax": [{"group": "inversion", "strength": 0.3}],
    },
    "linear": {"in": "2x0e+2x1o", "out": "2x1o+2x2e", "order": 1, "species": 1, "relax": None},
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("nodes", [6, 1, 0])
@pytest.mark.parametrize("name", POWERS)
def test_a_power_is_its_layer(name, nodes, dtype):
    params = POWERS[name]
    layer = LAYERS["power"](params)
    layer.initialise(torch.Generator().manual_seed(1))
    kernel = PowerKernel(layer).to(dtype)
    layer.to(dtype)
    generator = torch.Generator().manual_seed(2)
    species = torch.randint(0, params["species"], (nodes,), generator=generator)
    a = (0.7 * draw(generator, nodes, layer.source.dim, dtype=dtype)).requires_grad_()
    orders = 3 if dtype == torch.float64 else 2
    arguments = [a, layer.weight]

    def values(function):
        return lambda a, _: function(a, species)

    ours = derivatives(values(kernel), arguments, orders)
    assert_same(ours, derivatives(values(layer), arguments, orders), dtype)
    # the same second derivatives where nothing is to be differentiated again: another kernel
    found = []
    for function in (kernel, layer):
        out = function(a, species)
        first = torch.autograd.grad((out * out).sum(), arguments, create_graph=True)
        found.append(torch.autograd.grad(sum((g * g).sum() for g in first), arguments))
    assert_same(*found, dtype)


def test_a_power_refuses_species_that_it_does_not_have():
    layer = LAYERS["power"](POWERS["linear"])
    with pytest.raises(IndexError, match="species"):
        PowerKernel(layer)(torch.zeros(1, 8, dtype=torch.float64), torch.tensor([1]))


def structures():
    from ase.build import bulk, molecule

    made = [molecule("CH3CH2OH"), molecule("H2O"), bulk("C", "diamond", a=3.6, cubic=True)]
    for number, atoms in enumerate(made):
        atoms.rattle(0.05, seed=number)
    return made


@pytest.mark.parametrize("lmax", [0, 1, 2, 3, 5])
def test_rules_of_harmonics_and_lengths_are_those_of_autograd(lmax):
    """Both ends of a program without autograd; at v = 0 too."""
    generator = torch.Generator().manual_seed(lmax)
    v = torch.randn(7, 3, dtype=torch.float64, generator=generator)
    v[3] = 0.0
    for name, params, width in (("sph", {"lmax": lmax}, (lmax + 1) ** 2), ("length", {}, 1)):
        layer = LAYERS[name](params)
        leaf = v.clone().requires_grad_()
        g = torch.randn(7, width, dtype=torch.float64, generator=generator)
        expected = layer(leaf)
        rule = rule_for(layer)()
        assert type(rule).__name__ in ("HarmonicsRule", "LengthRule")
        torch.testing.assert_close(rule.run([v], [], [True]), expected.detach(), rtol=1e-13, atol=1e-13)
        (slope,) = rule.pull(g)
        if expected.requires_grad:
            (wanted,) = torch.autograd.grad(expected, leaf, g)
            torch.testing.assert_close(slope, wanted, rtol=1e-12, atol=1e-12)
        else:
            assert (slope == 0).all()


@pytest.mark.parametrize("mode", ["hard", ("relaxed", 0.3)], ids=str)
def test_a_model_gives_the_same_on_kernels(mode):
    """Energy, forces, stress, and the gradient of a loss on all of them, in float64."""
    plan = mace_plan(channels=4, lmax=2, mode=mode)
    inputs = model_inputs(structures(), plan)
    found = []
    for kernels in ("c", "reference"):
        model = build_module(plan, seed=3, dtype=torch.float64, kernels=kernels)
        assert bool(model.fused) == (kernels == "c")
        outputs = model(inputs, create_graph=True)
        loss = sum((value * value.detach().cos()).sum() for value in outputs.values())
        loss.backward()
        plain = model(inputs)
        gradients = {name: value.grad for name, value in model.named_parameters()}
        found.append((plain, {name: value.detach() for name, value in outputs.items()}, gradients))
    for ours, reference in zip(*found, strict=True):
        assert ours.keys() == reference.keys()
        for name in ours:
            scale = reference[name].abs().max()
            assert (ours[name] - reference[name]).abs().max() <= 1e-11 * scale, name


def test_kernels_leave_names_weights_and_hidden_values_alone():
    plan = mace_plan(channels=2, lmax=1)
    fused, plain = (build_module(plan, seed=1, kernels=kernels) for kernels in ("c", "reference"))
    assert {step.layer for step in fused.fused} & {"gather", "product"} == set()
    assert list(fused.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(fused.parameters(), plain.parameters(), strict=True))
    inputs = model_inputs(structures(), plan)
    for name in ("m1", "x2", "a2", "B1"):  # the first two are steps that the kernels have swallowed
        torch.testing.assert_close(fused.intermediate(inputs, name), plain.intermediate(inputs, name))


def test_what_others_read_is_not_swallowed():
    """A product that a second step reads stays a step."""
    data = json.loads(json.dumps(mace_plan(channels=2, lmax=1).to_json()))
    steps = data["steps"]
    at = next(i for i, step in enumerate(steps) if step["name"] == "m1")
    steps.insert(
        at + 1, {**steps[at], "name": "twice", "layer": "scale", "inputs": ["m1"], "params": {"by": 2.0}}
    )
    plan = mace_plan().from_json(data)
    names = {step.name for step in build_module(plan, kernels="c").fused}
    assert {"m1", "x1"} <= names
    assert not {"m2", "x2"} & names


def test_operators_trace_without_data():
    """Shapes follow from shapes, as compilers of torch programs need."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    plan = mace_plan(channels=2, lmax=1)
    inputs = model_inputs(structures(), plan)
    model = build_module(plan, kernels="c")
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = {name: mode.from_tensor(value) for name, value in inputs.items()}
        shapes = {name: value.shape for name, value in model(fake).items()}
    assert shapes == {name: value.shape for name, value in model(inputs).items()}


@pytest.mark.parametrize("average", ["sum", "average"])
def test_sums_of_a_density_are_those_of_its_layer(average):
    """Values and three orders of derivatives, with a species that does not occur."""
    generator = torch.Generator().manual_seed(0)
    params = {
        "left": "5x0e",
        "right": "1x0e+1x1o",
        "out": "5x0e+5x1o",
        "paths": [[0, 0, 0, 1.0], [0, 1, 1, 1.0]],
        "species": 3,
        "norm": average,
        "mlp": "network",
    }
    layer = LAYERS["density"](params)
    kernel = DensityKernel(layer, 7)
    edges, species = torch.randint(0, 4, (2, 30), generator=generator), torch.tensor([0, 2, 2, 0])
    shapes = ((3, 5), (30, 4), (30, 7), (7, 10))
    arguments = [draw(generator, *shape, dtype=torch.float64).requires_grad_() for shape in shapes]
    number = torch.tensor(2.5, dtype=torch.float64)

    def plain(table, y, h, matrix):
        return layer(table, y, h, species, edges, number, matrix)

    def fused(table, y, h, matrix):
        return kernel(table, y, h, species, edge_order(edges, 4), edges, number, matrix)

    assert_same(derivatives(fused, arguments), derivatives(plain, arguments), torch.float64)


PARTS = {
    "a gate with odd scalars": (
        "act",
        {
            "form": "gate",
            "f": "silu",
            "gate": "sigmoid",
            "odd": "tanh",
            "in": "9x0e+3x0o+4x1o+2x2e",
            "out": "3x0e+3x0o+4x1o+2x2e",
        },
        [(6, 34)],
        [],
    ),
    "a gate of vectors alone": (
        "act",
        {"form": "gate", "f": "tanh", "gate": "silu", "in": "4x0e+4x1o", "out": "4x1o"},
        [(6, 16)],
        [],
    ),
    "blocks": ("keep", {"in": "2x0e+3x1o+2x2e", "blocks": [2, 0]}, [(6, 21)], []),
    "side by side": ("concat", {}, [(6, 2), (6, 5), (6, 3)], []),
    "one end": ("gather", {"role": "target"}, [(4, 5)], [torch.tensor([[0, 1, 2, 3, 0], [3, 3, 1, 0, 3]])]),
}


@pytest.mark.parametrize("name", PARTS)
def test_rules_of_parts_are_those_of_autograd(name):
    kind, params, shapes, context = PARTS[name]
    layer = LAYERS[kind](params)
    generator = torch.Generator().manual_seed(0)
    values = [draw(generator, *shape, dtype=torch.float64).requires_grad_() for shape in shapes]
    expected = layer(*values, *context)
    g = draw(generator, *expected.shape, dtype=torch.float64)
    wants = [n != 1 for n in range(len(values))]
    rule = rule_for(layer)()
    assert type(rule).__name__ != "_LocalRule"
    with torch.no_grad():
        value = rule.run(values, context, wants)
        made = rule.pull(g)
    slopes = torch.autograd.grad(expected, values, g)
    assert [one is not None for one in made] == wants
    wanted = [slope for slope, want in zip(slopes, wants, strict=True) if want]
    assert_same([value, *(one for one in made if one is not None)], [expected, *wanted], torch.float64)


LINEARS = {
    "several blocks": ({"in": "3x0e+5x1o+2x0e", "out": "4x0e+2x1o+3x1o"}, None),
    "per species": ({"in": "3x0e+5x1o", "out": "4x0e", "species": 4}, 4),
    "not reached": ({"in": "3x0e", "out": "3x0e+2x1o", "bias": True}, None),
    "relaxed": ({"in": "3x0e+2x1o", "out": "2x0e+2x1o", "relax": [{"group": "O(3)", "strength": 0.5}]}, None),
}


@pytest.mark.parametrize("name", LINEARS)
def test_products_in_place_are_the_linear_layer(name):
    changed, kinds = LINEARS[name]
    layer = LAYERS["linear"]({"species": None, "bias": False, "relax": None, "hard": []} | changed)
    layer.initialise(torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    x = draw(generator, 6, layer.source.dim, dtype=torch.float64).requires_grad_()
    g = draw(generator, 6, layer.out.dim, dtype=torch.float64)
    rest = [] if kinds is None else [torch.tensor([3, 0, 1, 0, 3, 3])]  # species 2 does not occur
    rule = rule_for(layer)()
    with torch.no_grad():
        value = rule.run([x.detach(), *rest], [], [True, *(False for _ in rest)])
        made = rule.pull(g)[0]
    expected = layer(x, *rest)
    assert_same([value, made], [expected, *torch.autograd.grad(expected, [x], g)], torch.float64)


def test_products_refuse_species_without_weights():
    layer = LAYERS["linear"](
        {"in": "2x0e", "out": "2x0e", "species": 2, "bias": False, "relax": None, "hard": []}
    )
    if not has_blas():
        pytest.skip("torch hides its BLAS")
    with torch.no_grad(), pytest.raises(IndexError, match="row 1"):
        rule_for(layer)().run(
            [torch.zeros(2, 2, dtype=torch.float64), torch.tensor([0, 2])], [], [False, False]
        )


@pytest.mark.parametrize("mode", ["hard", ("relaxed", 0.3)], ids=str)
def test_numbers_without_autograd_are_those_with_it(mode):
    """Energy, forces and stress of the runner, of autograd on kernels, and of the reference layers."""
    plan = mace_plan(channels=4, lmax=2, mode=mode)
    inputs = model_inputs(structures(), plan)
    model = build_module(plan, seed=3, dtype=torch.float64, kernels="c")
    assert model._runner(inputs) is not None
    ours = model(inputs)
    with torch.inference_mode():
        inside = model(inputs)
    for other in (
        inside,
        model(inputs, create_graph=True),
        build_module(plan, seed=3, dtype=torch.float64, kernels="reference")(inputs),
    ):
        assert ours.keys() == other.keys()
        for name, value in other.items():
            assert ours[name].shape == value.shape
            assert not ours[name].requires_grad
            assert (ours[name] - value).abs().max() <= 1e-12 * value.abs().max(), name


def test_new_weights_are_seen_by_the_next_call():
    plan = mace_plan(channels=2, lmax=1)
    inputs = model_inputs(structures(), plan)
    model = build_module(plan, seed=1, dtype=torch.float64, kernels="c")
    before = model(inputs)["energy"]
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.1)
    after = model(inputs)
    assert not torch.allclose(before, after["energy"])
    torch.testing.assert_close(after["energy"], model(inputs, create_graph=True)["energy"].detach())


def test_a_copy_has_a_runner_of_its_own():
    import copy

    plan = mace_plan(channels=2, lmax=1)
    inputs = model_inputs(structures(), plan)
    model = build_module(plan, seed=1, dtype=torch.float64, kernels="c")
    expected = model(inputs)["forces"]
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    model(inputs)
    assert torch.equal(twin(inputs)["forces"], expected)
