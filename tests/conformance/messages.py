"""Messages on kernels and on the layers that they stand for, and how derivatives of the two are compared."""

import torch
from equic.runtime.irreps import Irreps
from equic.runtime.layers import LAYERS
from equic.runtime.testing.plans import mace_plan

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}
# several multiplicities, none a whole vector; two blocks of one irrep; a path of forbidden parity at strength 0.5
UNEQUAL = {
    "left": "3x0e+21x1o+1x0e",
    "right": "1x0e+1x1o+1x2e",
    "out": "3x0e+21x0e+21x1o+3x1o+1x1o+21x2e",
    "mode": "uvu",
    "paths": [[0, 0, 0, 0.5], [1, 1, 1, 1.0], [1, 0, 2, 1.0], [0, 1, 3, 1.0], [2, 1, 4, 1.0], [1, 1, 5, 1.0]],
}
MACE = dict(mace_plan(channels=16, lmax=3, species=("H",)).step("m2").params)


def draw(generator, *shape, dtype):
    return torch.randn(*shape, dtype=dtype, generator=generator)


def message_case(kernel, find_order, params, nodes, edges, dtype, norm="average"):
    """A product's layers and the `kernel` made for them as two functions of (x, Y, w), and arguments for them.

    `find_order` makes what the kernel reads of the edges.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = (Irreps.parse(params[name]) for name in ("left", "right"))
    weights = sum(left[path[0]].mul for path in params["paths"])
    index = torch.randint(0, max(nodes, 1), (2, edges), generator=generator)
    species = torch.zeros(nodes, dtype=torch.int64)
    average = torch.tensor(2.5, dtype=torch.float64)
    gather = LAYERS["gather"]({"role": "source"})
    product = LAYERS["product"](params).to(dtype)
    reduce = LAYERS["reduce"]({"from": "edge", "to": "node", "norm": norm})
    given = {"average_neighbors": average}
    for_sum = [given[name] for name in reduce.statistics]
    message = kernel(params, norm).to(dtype)
    statistics = () if norm == "sum" else (average,)

    def layers(x, y, w):
        return reduce(product(gather(x, index), y, w), index, species, *for_sum)

    def fused(x, y, w):
        return message(x, y, w, find_order(index, nodes), index, *statistics)

    shapes = ((nodes, left.dim), (edges, right.dim), (edges, weights))
    arguments = [draw(generator, *shape, dtype=dtype).requires_grad_() for shape in shapes]
    return layers, fused, arguments


def derivatives(function, arguments, orders=3):
    """The value, and gradients of squares of what came before, order by order."""
    found = [[function(*arguments)]]
    for _ in range(orders):
        total = sum((value * value).sum() for value in found[-1])
        found.append(list(torch.autograd.grad(total, arguments, create_graph=True)))
    return [value.detach() for order in found for value in order]


def assert_same(ours, reference, dtype):
    for a, b in zip(ours, reference, strict=True):
        assert a.shape == b.shape
        scale = b.abs().max() if b.numel() else 0.0
        assert (a - b).abs().le(TOLERANCE[dtype] * scale).all()
