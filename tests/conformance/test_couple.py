"""Products of channel with channel, and harmonics summed around nodes, against the layers that they stand for."""

import pytest
import torch
from equic.runtime.build import build_module
from equic.runtime.kernels import find_toolchain
from equic.runtime.kernels.around import Around, AroundRule
from equic.runtime.kernels.couple import Couple, CoupleRule
from equic.runtime.kernels.couple_source import ROWS, couple_spec, couple_text
from equic.runtime.kernels.edges import edge_order
from equic.runtime.kernels.rules import rule_for
from equic.runtime.layers import LAYERS
from equic.runtime.neighbors import model_inputs

from .messages import TOLERANCE, assert_same, derivatives, draw
from .test_kernels_presets import plan_of

pytestmark = pytest.mark.skipif(find_toolchain() is None, reason="no C compiler")

# several multiplicities, none a whole vector; blocks of either side that nothing reads; sums of two and three blocks
UNEQUAL = {
    "left": "3x0e+21x1o+5x2e+21x0e",
    "right": "21x1o+3x1o+21x0e+2x0e",
    "out": "3x1o+21x1o+21x0e+21x1o+21x1o+21x2e",
    "mode": "connected",
    "connection": "uuu",
    "learned": True,
    "paths": [[0, 1, 0, 0.5], [1, 2, 1, 1.0], [1, 0, 2, 2.0], [3, 0, 3, 1.0], [1, 0, 4, 1.0], [1, 0, 5, 1.0]],
}
INTO = [3, 0, 1, 0, 0, 2]


def coupled(rows, dtype, into):
    """The layers and their kernel as functions of (x, y, w), and arguments for them."""
    product = LAYERS["product"](UNEQUAL)
    product.initialise(torch.Generator().manual_seed(1))
    product = product.to(dtype)
    kernel = Couple(product, couple_text(UNEQUAL, into))
    behind = None if into is None else LAYERS["sum_blocks"]({"in": UNEQUAL["out"], "into": into})
    spec = couple_spec(kernel.spec)
    generator = torch.Generator().manual_seed(0)

    def layers(x, y, _):
        value = product(x, y)
        return value if behind is None else behind(value)

    def fused(x, y, _):
        return kernel(x, y)

    x, y = (draw(generator, rows, size, dtype=dtype).requires_grad_() for size in (spec.left, spec.right))
    return layers, fused, [x, y, product.weight]


@pytest.mark.parametrize("into", [None, INTO], ids=["alone", "summed"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("rows", [0, 1, ROWS + 7])
def test_channels_are_coupled_as_the_layers_do(rows, dtype, into):
    layers, fused, arguments = coupled(rows, dtype, into)
    orders = 3 if dtype == torch.float64 else 2
    assert_same(derivatives(fused, arguments, orders), derivatives(layers, arguments, orders), dtype)


def test_threads_do_not_change_a_bit_of_a_product():
    _, fused, arguments = coupled(3 * ROWS + 5, torch.float32, INTO)
    before = torch.get_num_threads()
    try:
        found = []
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(derivatives(fused, arguments, orders=2))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_product_without_autograd_is_that_with_it():
    _, fused, (x, y, w) = coupled(9, torch.float64, INTO)
    product = LAYERS["product"](UNEQUAL)
    product.weight = w
    layer = Couple(product, couple_text(UNEQUAL, INTO))
    out = fused(x, y, w)
    g = draw(torch.Generator().manual_seed(2), *out.shape, dtype=torch.float64)
    expected = torch.autograd.grad(out, [x, y], g)
    for wants in ((True, True), (False, True), (True, False)):
        rule = rule_for(layer)()
        assert isinstance(rule, CoupleRule)
        with torch.no_grad():
            value = rule.run([x, y], [], wants)
            made = rule.pull(g)
        assert [one is not None for one in made] == list(wants)
        assert torch.equal(value, out)
        kept = [(a, b) for a, b in zip(made, expected, strict=True) if a is not None]
        assert_same(*zip(*kept, strict=True), torch.float64)


def test_a_product_refuses_other_sizes():
    _, fused, (x, y, w) = coupled(4, torch.float64, None)
    with pytest.raises(ValueError, match="a product of"):
        fused(x[:, :-1], y, w)
    with pytest.raises(ValueError, match="a product of"):
        fused(x, y[:3], w)


@pytest.mark.parametrize("norm", ["sum", "average", "root_average"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("nodes", "edges"), [(5, 40), (1, 3), (4, 0)])
def test_harmonics_are_summed_around_nodes_as_the_layers_do(nodes, edges, dtype, norm):
    params = {"in": "1x0e+1x1o+1x2e", "weights": 3 * 19, "copies": 19}
    weigh, reduce = (
        LAYERS["weigh"](params),
        LAYERS["reduce"]({"from": "edge", "to": "node", "norm": norm}),
    )
    kernel = Around(params, norm)
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(0, nodes, (2, edges), generator=generator)
    species, order = torch.zeros(nodes, dtype=torch.int64), edge_order(index, nodes)
    number = torch.tensor(2.5, dtype=torch.float64)
    average = () if norm == "sum" else (number,)

    def layers(y, w):
        return reduce(weigh(y, w), index, species, *(number for _ in reduce.statistics))

    def fused(y, w):
        return kernel(y, w, order, index, *average)

    arguments = [draw(generator, edges, size, dtype=dtype).requires_grad_() for size in (9, 57)]
    orders = 3 if dtype == torch.float64 else 2
    assert_same(derivatives(fused, arguments, orders), derivatives(layers, arguments, orders), dtype)
    rule = rule_for(kernel)()
    assert isinstance(rule, AroundRule)
    g = draw(generator, nodes, 9 * 19, dtype=dtype)
    with torch.no_grad():
        value = rule.run([*arguments, order], [index, *average], [True, True, False])
        *made, rest = rule.pull(g)
    assert rest is None
    expected = layers(*arguments)
    assert_same([value, *made], [expected, *torch.autograd.grad(expected, arguments, g)], dtype)


@pytest.mark.parametrize("atoms", ["few", "many"])
def test_a_model_of_edges_runs_on_both(atoms, monkeypatch):
    """Without autograd, in one piece and in chunks of edges."""
    from ase.build import bulk
    from equic.runtime.kernels import chunks

    if atoms == "many":
        monkeypatch.setattr(chunks, "CHUNK", 40)
    plan = plan_of("nequip_allegro")
    frames = [bulk("C", "diamond", a=3.6, cubic=True) * (2, 1, 1)]
    frames[0].rattle(0.05, seed=0)
    inputs = model_inputs(frames, plan)
    found = []
    for form in ("c", "reference"):
        model = build_module(plan, seed=3, dtype=torch.float64, kernels=form)
        model.set_statistics({"average_neighbors": 3.7})
        found.append(model(inputs))
        if form == "c":
            assert model._runner(inputs) is not None
            served = {type(model.kernel(step.name)) for step in model.fused}
            assert {Couple, Around} <= served
            assert "product" not in {step.layer for step in model.fused}
    for name in ("energy", "forces"):
        scale = found[1][name].abs().max()
        assert (found[0][name] - found[1][name]).abs().max() <= TOLERANCE[torch.float64] * scale
