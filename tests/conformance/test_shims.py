"""The C functions that packages call, held against the operators that they stand for, on the same arguments."""

import ctypes
import subprocess
from pathlib import Path

import pytest
import torch
from equic.runtime.export.operators import can_link
from equic.runtime.export.shims import _KERNELS, shim_source
from equic.runtime.kernels import find_toolchain
from equic.runtime.kernels.couple_source import couple_spec, couple_text
from equic.runtime.kernels.edges import edge_order
from equic.runtime.kernels.message import _text
from equic.runtime.kernels.power import PowerKernel
from equic.runtime.layers import LAYERS
from torch import Tensor

from .messages import UNEQUAL, draw
from .test_couple import INTO
from .test_couple import UNEQUAL as COUPLED

pytestmark = pytest.mark.skipif(not can_link(), reason="no C compiler, or another linker")

NODES, EDGES = 7, 40

_POINTER = ctypes.pythonapi.PyCapsule_GetPointer
_POINTER.restype, _POINTER.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
_NEW_CAPSULE = ctypes.pythonapi.PyCapsule_New
_NEW_CAPSULE.restype, _NEW_CAPSULE.argtypes = (
    ctypes.py_object,
    (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p),
)


def handle_of(tensor: Tensor) -> ctypes.c_void_p:
    """What torch's C interface calls a tensor."""
    return ctypes.c_void_p(_POINTER(torch._C._aoti.unsafe_alloc_void_ptr_from_tensor(tensor), None))


def arguments(operator: str, dtype: torch.dtype) -> dict[str, object]:
    """Everything that an operator takes, by name."""
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> Tensor:
        return draw(generator, *shape, dtype=dtype)

    def index(limit: int, count: int) -> Tensor:
        return torch.randint(0, limit, (count,), generator=generator)

    edges = torch.stack((index(NODES, EDGES), index(NODES, EDGES)))
    order = edge_order(edges, NODES)
    spec = _text(UNEQUAL)
    left, right, out, weights = MESSAGE
    power = LAYERS["power"]({"in": "5x0e+5x1o", "out": "5x0e+5x1o", "order": 2, "species": 3, "relax": None})
    power.initialise(generator)
    kernel = PowerKernel(power)
    coefficients = kernel.coefficients().to(dtype)
    message = {"x": numbers(NODES, left), "y": numbers(EDGES, right)}
    scale = torch.tensor(0.3, dtype=torch.float64)
    spline = {
        "r": 0.6 + numbers(EDGES, 1).abs(),
        "kind": index(4, EDGES),
        "knots": numbers(4, 12, 3, weights),
        "start": 0.5,
        "end": 2.0,
    }
    forward = {"source": edges[0], "order": order[0], "scale": scale, "spec": spec}
    backward = {"target": edges[1], "order": order[1], "scale": scale, "spec": spec}
    w, g = numbers(EDGES, weights), numbers(NODES, out)
    none = {"dx": None, "dy": None, "dw": None}
    moved = {"dx": numbers(NODES, left), "dy": None, "dw": numbers(EDGES, weights)}
    sums = {"kind": index(3, EDGES), "order": order[0], "nodes": NODES, "kinds": 3}
    y, h = numbers(EDGES, 4), numbers(EDGES, 6)
    a, species = numbers(NODES, power.source.dim), index(3, NODES)
    value = numbers(NODES, power.out.dim)
    coupling = couple_text(COUPLED, INTO)
    sizes = couple_spec(coupling)
    pair = {"x": numbers(300, sizes.left), "y": numbers(300, sizes.right), "w": numbers(sizes.weights)}
    return {
        "couple": {**pair, "spec": coupling},
        "couple_backward": {"g": numbers(300, sizes.out), **pair, "spec": coupling, "wanted": "xw"},
        "edge_order": {"edges": edges, "nodes": NODES},
        "message": {**message, "w": w, **none, **forward},
        "message_backward": {"g": g, **message, "w": w, **moved, **backward, "wanted": "xw"},
        "power": {"a": a, "c": coefficients, "species": species, "spec": kernel.spec},
        "power_backward": {
            "g": value, "a": a, "c": coefficients, "da": numbers(*a.shape), "species": species,
            "spec": kernel.spec, "wanted": "aco",
        },
        "outer_sum": {"y": y, "h": h, **sums},
        "outer_sum_backward": {"g": numbers(NODES, 4, 18), "y": y, "h": h, **sums},
        "table": spline,
        "table_backward": {"g": numbers(EDGES, weights), **spline, "kind": None},
        "table_message": {**message, **spline, **forward},
        "table_message_backward": {"g": g, **message, **spline, **backward, "wanted": "yr"},
    }[operator]  # fmt: skip


def _message_sizes() -> tuple[int, int, int, int]:
    from equic.runtime.kernels.message_source import message_spec

    spec = message_spec(_text(UNEQUAL))
    return spec.left, spec.right, spec.out, spec.weights


MESSAGE = _message_sizes()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("operator", _KERNELS)
def test_a_shim_is_its_operator(operator: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """To the last bit: it is the same kernel, compiled for the same processor."""
    given = arguments(operator, dtype)
    expected = getattr(torch.ops.equic, operator)(*given.values())
    expected = list(expected) if isinstance(expected, tuple) else [expected]
    found = find_toolchain()
    assert found is not None
    source = shim_source("probe", operator, {**given}, 1)
    unit = found.compile(source, tmp_path / "shim.o", found.target)
    libraries = Path(torch.__file__).parent / "lib"
    link = [
        found.path,
        "-shared",
        str(unit),
        "-o",
        str(tmp_path / "shim.so"),
        f"-L{libraries}",
        "-ltorch_cpu",
    ]
    subprocess.run(link, check=True)
    shim = ctypes.CDLL(str(tmp_path / "shim.so")).aoti_torch_cpu_probe
    tensors = [value.contiguous() for value in given.values() if isinstance(value, Tensor)]
    made = [ctypes.c_void_p() for _ in expected]
    assert shim(*map(handle_of, tensors), *map(ctypes.byref, made)) == 0
    for value, reference in zip(made, expected, strict=True):
        capsule = _NEW_CAPSULE(value, None, None)
        result = torch._C._aoti.alloc_tensor_by_stealing_from_void_ptr(capsule)
        assert torch.equal(result, reference)


@pytest.mark.parametrize("operator", _KERNELS)
def test_two_shims_of_an_operator_are_joined(operator: str, tmp_path: Path) -> None:
    """A package holds several of a kind: nothing in them but the shims themselves has a name to the linker."""
    found = find_toolchain()
    assert found is not None
    units = [
        found.compile(shim_source(name, operator, arguments(operator, dtype), 1), tmp_path / f"{name}.o", ())
        for name, dtype in (("first", torch.float64), ("second", torch.float32))
    ]
    assert found.join(units, tmp_path / "both.o").exists()
