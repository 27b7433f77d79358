"""Every layer keeps its claims, in both precisions, and what is claimed broken fails the probe."""

import pytest
import torch
from equic.runtime.errors import ArtifactError
from equic.runtime.irreps import Irreps
from equic.runtime.layers import LAYERS
from equic.runtime.testing.equivariance import assert_equivariant, equivariance_error
from equic.runtime.testing.inputs import random_rotation

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5}
ELEMENTS = {
    "rotation": random_rotation(1),
    "improper": random_rotation(2, improper=True),
    "inversion": -torch.eye(3, dtype=torch.float64),
}
EDGES = torch.tensor([[0, 1, 2, 3, 1, 0], [1, 1, 0, 2, 3, 3]])
ANGLES = torch.tensor([[0, 1, 4, 5], [1, 0, 5, 4]])
SPECIES = torch.tensor([0, 2, 1, 0])
SYSTEM = torch.tensor([0, 0, 1, 1])
CELL = torch.zeros(2, 3, 3, dtype=torch.float64)


def build(layer, params, dtype=torch.float64, seed=0):
    module = LAYERS[layer](params)
    module.initialise(torch.Generator().manual_seed(seed))
    return module.to(dtype)


def draw(rows, rep, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, Irreps.parse(rep).dim, generator=generator, dtype=torch.float64).to(dtype)


EYE = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
MIXED = "4x0e+3x1o+2x1e+2x2e+2x0o"
PATHS = [[0, 0, 0, 1.0], [0, 1, 2, 1.0], [1, 1, 1, 1.0], [1, 2, 3, 1.0], [1, 0, 4, 1.0]]
PRODUCT = {"left": "3x0e+3x1o", "right": "1x0e+1x1o+1x2e", "out": "3x0e+3x0e+3x1o+3x3o+3x1o", "mode": "uvu"}
POWER = {"in": "3x0e+3x1o+3x2e+3x3o", "out": "3x0e+3x1o+3x2e", "order": 3, "species": 3, "relax": None}
DENSITY = {
    **{"left": "3x0e+2x0o", "right": "1x0e+1x1o", "out": "3x0e+2x0o+3x1o+2x1e", "species": 3, "norm": "sum"},
    **{"mlp": "weights", "paths": [[0, 0, 0, 1.0], [1, 0, 1, 1.0], [0, 1, 2, 1.0], [1, 1, 3, 1.0]]},
}


HEADS = "4x0e+2x1o+2x2e"


def linear(source, out, **more):
    params = {"in": source, "out": out, "species": None, "bias": False, "relax": None, "hard": ["O(3)"]}
    return {**params, **more}


def norm(source, **more):
    return {"in": source, "form": "layer", "statistic": "irrep", "over": "channels", "eps": 1e-5, **more}


# layer: parameters, (rows, rep) of each input (a tensor: passed as it is), rep of the output
EXAMPLES = {
    "relative": ("relative", {}, [(4, "1x1o"), EDGES, torch.zeros(6, 3), CELL, SYSTEM], "1x1o"),
    "length": ("length", {}, [(6, "1x1o")], "1x0e"),
    "sph": ("sph", {"lmax": 4}, [(6, "1x1o")], "1x0e+1x1o+1x2e+1x3o+1x4e"),
    "linear": ("linear", linear(MIXED, "2x2e+3x0e+1x1e+5x1o+2x1o"), [(5, MIXED)], "2x2e+3x0e+1x1e+5x1o+2x1o"),
    "linear, unmerged": (
        "linear",
        linear("2x1o+3x0e+4x1o", "5x1o+2x0e"),
        [(5, "2x1o+3x0e+4x1o")],
        "5x1o+2x0e",
    ),
    "linear, bias": ("linear", linear(MIXED, MIXED, bias=True), [(5, MIXED)], MIXED),
    "linear, species": ("linear", linear(MIXED, MIXED, species=3), [(4, MIXED), SPECIES], MIXED),
    "linear, many species": ("linear", linear(MIXED, MIXED, species=30), [(4, MIXED), SPECIES], MIXED),
    "linear, nothing in common": (
        "linear",
        linear("2x1o+2x0e", "3x2e+1x0e"),
        [(5, "2x1o+2x0e")],
        "3x2e+1x0e",
    ),
    "part": ("part", {"in": MIXED, "out": "3x1o", "start": 4}, [(5, MIXED)], "3x1o"),
    "product": (
        "product",
        {**PRODUCT, "paths": PATHS},
        [(6, PRODUCT["left"]), (6, PRODUCT["right"]), (6, "15")],
        PRODUCT["out"],
    ),
    "product, connected": (
        "product",
        {
            "left": "2x0e+3x1o",
            "right": "2x1o+2x2e",
            "out": "4x1o+2x0e",
            "mode": "connected",
            "connection": "uvw",
            "learned": True,
            "paths": [[0, 0, 0, 1.0], [1, 1, 0, 1.0], [1, 0, 1, 1.0]],
        },
        [(6, "2x0e+3x1o"), (6, "2x1o+2x2e")],
        "4x1o+2x0e",
    ),
    "cross": ("cross", {"channels": 2}, [(6, "2x1o"), (6, "2x1e")], "2x1o"),
    "power": ("power", POWER, [(4, POWER["in"]), SPECIES], POWER["out"]),
    "power, recursive": (
        "power",
        {**POWER, "in": "3x0e+3x1o+3x1e", "out": "3x0e+3x1o", "basis": "recursive"},
        [(4, "3x0e+3x1o+3x1e"), SPECIES],
        "3x0e+3x1o",
    ),
    "gather": ("gather", {"role": "source"}, [(4, MIXED), EDGES], MIXED),
    "gather, angles": ("gather", {"role": "second"}, [(6, MIXED), ANGLES], MIXED),
    "gather, both": ("gather", {"role": "both"}, [(6, "4x0e"), ANGLES], "4x0e"),
    "gather, reverse": ("gather", {"role": "reverse"}, [(6, MIXED), torch.arange(6).flip(0)], MIXED),
    "gather, tokens": ("gather", {"role": "nodes"}, [(10, MIXED), EDGES, SPECIES], MIXED),
    "tokens": ("tokens", {}, [(6, MIXED), (4, MIXED)], MIXED),
    "attend, tokens": (
        "attend",
        {
            "in": HEADS,
            "logit": "inner",
            "by": HEADS,
            "heads": 2,
            "envelope": False,
            "scope": "tokens",
            "nodes": True,
        },
        [(10, HEADS), (10, HEADS), (10, HEADS), EDGES, ANGLES],
        HEADS,
    ),
    "reduce to edges": (
        "reduce",
        {"from": "angle", "to": "edge", "norm": "average"},
        [(4, MIXED), ANGLES, EDGES, torch.tensor(2.5)],
        MIXED,
    ),
    "reduce to nodes": (
        "reduce",
        {"from": "edge", "to": "node", "norm": "average"},
        [(6, MIXED), EDGES, SPECIES, torch.tensor(2.5)],
        MIXED,
    ),
    "reduce to nodes, by the root": (
        "reduce",
        {"from": "edge", "to": "node", "norm": "root_average"},
        [(6, MIXED), EDGES, SPECIES, torch.tensor(2.5)],
        MIXED,
    ),
    "reduce to nodes, by the number at hand": (
        "reduce",
        {"from": "edge", "to": "node", "norm": "mean"},
        [(6, MIXED), EDGES, SPECIES, torch.tensor(2.5)],
        MIXED,
    ),
    "attend": (
        "attend",
        {
            "in": HEADS,
            "logit": "mlp",
            "by": "6",
            "heads": 2,
            "scope": "neighbour",
            "envelope": False,
            "act": "smooth_leaky_relu",
        },
        [(6, HEADS), (6, "6"), EDGES, SPECIES],
        HEADS,
    ),
    "attend, inner": (
        "attend",
        {"in": HEADS, "logit": "inner", "by": HEADS, "heads": 2, "envelope": False, "scope": "neighbour"},
        [(6, HEADS), (4, HEADS), (6, HEADS), EDGES, SPECIES],
        HEADS,
    ),
    "reduce to systems": (
        "reduce",
        {"from": "node", "to": "system", "norm": "sum"},
        [(4, MIXED), SYSTEM, CELL],
        MIXED,
    ),
    "reduce to systems, mean": (
        "reduce",
        {"from": "node", "to": "system", "norm": "mean"},
        [(4, MIXED), SYSTEM, CELL],
        MIXED,
    ),
    "normalize": (
        "normalize",
        {"name": "t", "irreps": MIXED},
        [(4, MIXED), torch.linspace(0.5, 2, 5).double(), torch.linspace(-1, 1, 4).double()],
        MIXED,
    ),
    "spread": ("spread", {}, [(2, MIXED), SYSTEM], MIXED),
    "rescale": (
        "rescale",
        {"target": "t", "irreps": MIXED},
        [(4, MIXED), torch.linspace(0.5, 2, 5).double(), torch.linspace(-1, 1, 4).double()],
        MIXED,
    ),
    "act, pointwise": (
        "act",
        {"form": "pointwise", "f": "silu", "in": "5x0e", "out": "5x0e"},
        [(5, "5x0e")],
        "5x0e",
    ),
    "act, odd": (
        "act",
        {"form": "pointwise", "f": "tanh", "in": "5x0o", "out": "5x0o"},
        [(5, "5x0o")],
        "5x0o",
    ),
    "act, gate": (
        "act",
        {"form": "gate", "f": "silu", "in": "3x0e+5x0e+3x1o+2x2e", "out": "3x0e+3x1o+2x2e"},
        [(5, "3x0e+5x0e+3x1o+2x2e")],
        "3x0e+3x1o+2x2e",
    ),
    "act, gate with odd scalars": (
        "act",
        {
            "form": "gate",
            "f": "silu",
            "gate": "silu",
            "odd": "tanh",
            "in": "3x0e+3x0e+2x0o+3x1o",
            "out": "3x0e+2x0o+3x1o",
        },
        [(5, "3x0e+3x0e+2x0o+3x1o")],
        "3x0e+2x0o+3x1o",
    ),
    "act, norm": ("act", {"form": "norm", "f": "silu", "in": MIXED, "out": MIXED}, [(5, MIXED)], MIXED),
    "lookup": ("lookup", {}, [(3, MIXED), SPECIES], MIXED),
    "density": (
        "density",
        DENSITY,
        [(3, "3x0e+2x0o"), (6, "1x0e+1x1o"), (6, "4"), SPECIES, EDGES, torch.tensor(2.5), (4, "10")],
        DENSITY["out"],
    ),
    "act, vn_relu": (
        "act",
        {"form": "vn_relu", "f": "silu", "in": "4x0e+4x1o+2x2e", "out": "2x0e+2x1o+1x2e"},
        [(5, "4x0e+4x1o+2x2e")],
        "2x0e+2x1o+1x2e",
    ),
    "act, s2_product": (
        "act",
        {"form": "s2_product", "f": "silu", "in": "4x0e+4x1o", "out": "2x0e+2x1o", "degree": 3},
        [(5, "4x0e+4x1o")],
        "2x0e+2x1o",
    ),
    "product, gaunt": (
        "product",
        {"left": "2x0e+2x1o", "right": "1x0e+1x1o", "out": "2x0e+2x1o+2x2e", "mode": "gaunt", "degree": 4},
        [(5, "2x0e+2x1o"), (5, "1x0e+1x1o")],
        "2x0e+2x1o+2x2e",
    ),
    "product, by factors": (
        "product",
        {
            **{"left": "2x1o", "right": "1x1o", "out": "2x0e", "mode": "cp", "learned": True},
            "factors": {"left": EYE, "right": EYE, "out": [[3**-0.5] * 3]},
        },
        [(5, "2x1o"), (5, "1x1o")],
        "2x0e",
    ),
    "norm, layer": ("norm", norm(MIXED), [(5, MIXED)], MIXED),
    "norm, merged": ("norm", norm(MIXED, form="rms", statistic="merged"), [(5, MIXED)], MIXED),
    "norm of systems": ("norm", norm(MIXED, over="system"), [(4, MIXED), SYSTEM, CELL], MIXED),
    "arrange": (
        "arrange",
        {"in": MIXED, "pieces": [[[1, 2]], [[0, 4]], [[3, 1]]]},
        [(5, MIXED)],
        "2x1o+4x0e+1x2e",
    ),
    "add": ("add", {}, [(5, MIXED), (5, MIXED), (5, MIXED)], MIXED),
    "difference": ("difference", {}, [(5, MIXED), (5, MIXED)], MIXED),
    "weigh, copies": (
        "weigh",
        {"in": MIXED, "weights": 39, "copies": 3},
        [(5, MIXED), (5, "39")],
        "12x0e+9x1o+6x1e+6x2e+6x0o",
    ),
    "gram": ("gram", {"in": "4x0e+4x1o+4x2e", "columns": 2}, [(5, "4x0e+4x1o+4x2e")], "8x0e"),
    "unfilled": ("unfilled", {"filters": "f", "dim": 12}, [(6, "6x0e"), SPECIES, (3, "3")], "3x0e+3x1o"),
    "sum_blocks": (
        "sum_blocks",
        {"in": "2x0e+2x1o+2x0e+2x1o+2x1e", "into": [0, 1, 0, 1, 2]},
        [(5, "2x0e+2x1o+2x0e+2x1o+2x1e")],
        "2x0e+2x1o+2x1e",
    ),
    "keep": ("keep", {"in": MIXED, "blocks": [1, 4]}, [(5, MIXED)], "3x1o+2x0o"),
    "bias": ("bias", {"in": MIXED}, [(5, MIXED)], MIXED),
    "norms": ("norms", {"in": MIXED, "eps": 1e-8}, [(5, MIXED)], "13x0e"),
    "weigh": ("weigh", {"in": MIXED, "weights": 13}, [(5, MIXED), (5, "13")], MIXED),
    "weigh, one for all": ("weigh", {"in": MIXED, "weights": 1}, [(5, MIXED), (5, "1")], MIXED),
    "dilute": ("dilute", {}, [(5, MIXED), (5, "1")], MIXED),
    "scale": ("scale", {"by": 0.3}, [(5, MIXED)], MIXED),
    "concat": ("concat", {}, [(5, "2x1o"), (5, "1x2e+3x0e")], "2x1o+1x2e+3x0e"),
    "slice": ("slice", {"start": 4, "stop": 13}, [(5, MIXED)], "3x1o"),
    "inner": ("inner", {"in": MIXED}, [(5, MIXED), (5, MIXED)], "13x0e"),
    "distances": ("distances", {}, [(5, "1x1o"), (5, "1x1o"), (5, "1x1o")], "1x0e"),
    "poisson": ("poisson", {"dim": 6}, [(5, "1x1o+1x1o")], "1x1o+1x1o"),
    "grad": (
        "grad",
        {"wrt": "positions", "scale": -1.0, "per_volume": False},
        [(5, "1x1o"), torch.ones(2)],
        "1x1o",
    ),
}

# layers of invariant numbers, whose claim is only that their inputs are
INVARIANT = {
    "input",
    "radial",
    "envelope",
    "transform",
    "zbl",
    "saturate",
    "embed",
    "pair_kind",
    "resnet",
    "filters",
    "ones",
    "mlp",
    "shift_scale",
    "all_species",
}
MATRICES = {"tensor"}  # its claim is in test_tensor.py


IN_FLOAT64 = {"reduce to systems", "reduce to systems, mean", "rescale"}


# layers whose results are components along axes that turn with the input: test_frames.py
ON_SPHERES = {"sample", "unsample"}  # test_sphere.py
IN_ORBITS = {"orbit", "average"}  # test_average.py
BORROWING = {"merged"}  # test_merged.py
IN_FRAMES = {"frame", "to_frame", "from_frame", "so2"}


def example(name, dtype, seed=0):
    layer, params, parts, out = EXAMPLES[name]
    inputs, reps = [], []
    for i, part in enumerate(parts):
        if isinstance(part, torch.Tensor):
            inputs.append(part)
            reps.append(None)
        else:
            rows, rep = part
            inputs.append(draw(rows, rep, torch.float64 if layer == "relative" else dtype, seed + i))
            reps.append(rep)
    return build(layer, params, dtype, seed), inputs, reps, out


def test_every_layer_has_an_example_here_or_takes_invariants_only():
    known = (
        {layer for layer, *_ in EXAMPLES.values()}
        | INVARIANT
        | MATRICES
        | IN_FRAMES
        | ON_SPHERES
        | IN_ORBITS
        | BORROWING
    )
    assert known == set(LAYERS)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_layer_is_equivariant(name, dtype):
    module, inputs, reps, out = example(name, dtype)
    for element in ELEMENTS.values():
        assert_equivariant(module, inputs, reps, out, element, TOLERANCE[dtype])


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_layer_keeps_the_dtype_and_has_the_declared_size(name):
    module, inputs, _, out = example(name, torch.float32)
    y = module(*inputs)
    assert y.dtype == (torch.float64 if name in IN_FLOAT64 else torch.float32)
    assert y.shape[-1] == Irreps.parse(out).dim


@pytest.mark.parametrize("name", [name for name in EXAMPLES if EXAMPLES[name][0] not in ("relative",)])
def test_a_layer_can_be_differentiated_twice(name):
    module, inputs, reps, _ = example(name, torch.float64)
    live = [i for i, rep in enumerate(reps) if rep is not None]

    def function(*values):
        full = list(inputs)
        for i, value in zip(live, values, strict=True):
            full[i] = value
        return module(*full)

    # from a few rows only: the cost of finite differences grows with their square
    values = [inputs[i].clone().requires_grad_(True) for i in live]
    assert torch.autograd.gradcheck(function, values, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, values, fast_mode=True)


# ----------------------------------------------------------------------------------- what must fail the probe


def test_a_pointwise_function_of_a_vector_is_caught():
    module = build("act", {"form": "pointwise", "f": "tanh", "in": "4x1o", "out": "4x1o"})
    x = draw(5, "4x1o")
    assert equivariance_error(module, [x], ["4x1o"], "4x1o", ELEMENTS["rotation"]) > 1e-3
    even = build("act", {"form": "pointwise", "f": "silu", "in": "4x0o", "out": "4x0o"})
    x = draw(5, "4x0o")
    assert equivariance_error(even, [x], ["4x0o"], "4x0o", ELEMENTS["inversion"]) > 1e-3


def test_a_product_of_forbidden_parity_breaks_inversion_alone():
    params = {"left": "3x1o", "right": "1x1o", "out": "3x1o", "mode": "uvu", "paths": [[0, 0, 0, 0.5]]}
    module = build("product", params)
    inputs, reps = [draw(6, "3x1o"), draw(6, "1x1o", seed=1), draw(6, "3", seed=2)], ["3x1o", "1x1o", "3"]
    assert_equivariant(module, inputs, reps, "3x1o", ELEMENTS["rotation"], 1e-12)
    assert equivariance_error(module, inputs, reps, "3x1o", ELEMENTS["inversion"]) > 0.1


def test_an_mlp_of_a_vector_is_caught():
    module = build("mlp", {"in": 3, "widths": [8], "out": 3, "act": "silu", "bias": False, "init": "normal"})
    assert equivariance_error(module, [draw(5, "1x1o")], ["1x1o"], "1x1o", ELEMENTS["rotation"]) > 1e-3


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("layer", "params", "message"),
    [
        (
            "radial",
            {"basis": "wavelet", "count": 8, "cutoff": 5.0, "envelope": {"polynomial": 5}},
            "wavelet",
        ),
        ("product", {**PRODUCT, "mode": "vvv", "paths": PATHS}, "mode `vvv`"),
        (
            "product",
            {**PRODUCT, "mode": "connected", "connection": "uuu", "learned": True, "paths": PATHS},
            "no uuu path",
        ),
        ("product", {**PRODUCT, "paths": PATHS[:-1]}, "exactly one path"),
        ("product", {**PRODUCT, "paths": [*PATHS[:-1], [0, 0, 4, 1.0]]}, "no uvu path"),
        ("product", {**PRODUCT, "right": "2x0e", "paths": PATHS}, "multiplicity 1"),
        ("power", {**POWER, "out": "2x0e"}, "one multiplicity"),
        ("linear", linear("2x1", "2x1o"), "no linear map"),
        ("act", {"form": "fourier", "f": "silu", "in": "2x0e", "out": "2x0e"}, "form `fourier`"),
        ("act", {"form": "gate", "f": "silu", "in": "2x0e+2x1o", "out": "2x0e+2x1o"}, "needs 2 gates"),
        ("reduce", {"from": "node", "to": "edge", "norm": "sum"}, "reduce from node to edge"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(layer, params, message):
    with pytest.raises(ArtifactError, match=message):
        LAYERS[layer](params)
