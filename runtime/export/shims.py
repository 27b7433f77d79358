"""C functions that a compiled package calls for the operators of kernels: tensors in, kernel, tensors out.

A package knows torch's stable C interface and nothing of operators that Python registers. So each call of one in a
traced program becomes a C function with everything but its tensors (and sizes) written into it: which paths,
which number type, which gradients. It reads and makes tensors through that interface, whose handful of functions
are declared here: no header of torch is needed, and the compiler is the one that makes kernels anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from equic.runtime.kernels.couple_source import ROWS, couple_spec
from equic.runtime.kernels.couple_source import backward_source as couple_backward_source
from equic.runtime.kernels.couple_source import forward_source as couple_source
from equic.runtime.kernels.density import density_source
from equic.runtime.kernels.edges import SORT_SOURCE
from equic.runtime.kernels.message_source import backward_source, forward_source, message_spec
from equic.runtime.kernels.power_source import backward_source as power_backward_source
from equic.runtime.kernels.power_source import forward_source as power_source
from equic.runtime.kernels.power_source import power_spec
from equic.runtime.kernels.table import table_source
from torch import Tensor

_DTYPES = {
    torch.float32: ("float32", "float"),
    torch.float64: ("float64", "double"),
    torch.int64: ("int64", "int64_t"),
}

# what a shim needs of torch, and the kernels' own names, which must not be seen outside
_HEAD = """
#include <stdbool.h>
#include <stdint.h>
typedef struct AtenTensorOpaque *Handle;
int32_t aoti_torch_get_data_ptr(Handle, void **);
int32_t aoti_torch_get_dim(Handle, int64_t *);
int32_t aoti_torch_get_sizes(Handle, int64_t **);
int32_t aoti_torch_get_dtype(Handle, int32_t *);
int32_t aoti_torch_is_contiguous(Handle, bool *);
int32_t aoti_torch_empty_strided(int64_t, const int64_t *, const int64_t *, int32_t, int32_t, int32_t, Handle *);
int32_t aoti_torch_delete_tensor_object(Handle);
int32_t aoti_torch_dtype_float32(void);
int32_t aoti_torch_dtype_float64(void);
int32_t aoti_torch_dtype_int64(void);
int32_t aoti_torch_device_type_cpu(void);
void aoti_torch_check(bool, const char *, const char *, uint32_t, const char *);
static void forward();
static void backward();
static int64_t sort_edges();
typedef struct { void *at; int64_t *size; } View;
static void check(bool right, const char *what) {
  if (!right) aoti_torch_check(false, "kernel", "equic", 0, what);
}
static View view(Handle tensor, int64_t dims, int32_t dtype) {
  View made; int64_t found; int32_t type; bool contiguous;
  bool failed = aoti_torch_get_data_ptr(tensor, &made.at) || aoti_torch_get_dim(tensor, &found)
    || aoti_torch_get_sizes(tensor, &made.size) || aoti_torch_get_dtype(tensor, &type)
    || aoti_torch_is_contiguous(tensor, &contiguous);
  check(!failed && found == dims && type == dtype && contiguous, "a kernel got a tensor of another kind");
  return made;
}
static void *make(Handle *out, int64_t dims, const int64_t *sizes, int32_t dtype) {
  int64_t strides[4], stride = 1; void *at;
  for (int64_t i = dims; i--;) { strides[i] = stride; stride *= sizes[i] > 1 ? sizes[i] : 1; }
  check(!aoti_torch_empty_strided(dims, sizes, strides, dtype, aoti_torch_device_type_cpu(), 0, out),
        "no memory for the result of a kernel");
  check(!aoti_torch_get_data_ptr(*out, &at), "no memory for the result of a kernel");
  return at;
}
static void within(const int64_t *index, int64_t count, int64_t limit) {
  for (int64_t i = 0; i < count; i++) check(index[i] >= 0 && index[i] < limit, "an index is out of range");
}
"""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What one operator does in C, given its arguments by name: views of tensors, and numbers.

    Attributes:
        source: the kernel's code.
        agree: conditions on sizes, beyond those that are fixed.
        outputs: the sizes of each output, `out0` and on.
        call: the statements.
        dtype: the type of the outputs.
    """

    source: str
    agree: tuple[str, ...]
    outputs: tuple[tuple[str, ...], ...]
    call: str
    dtype: torch.dtype


def shim_source(name: str, operator: str, arguments: Mapping[str, Any], threads: int) -> str:
    """The whole C file of one operator: its kernel, and `aoti_torch_cpu_NAME`, which torch calls.

    `arguments` are by the names of the operator's schema: tensors (without data), None, text, numbers, or
    symbolic sizes, which stay arguments.
    """
    kernel = _KERNELS[operator](arguments, threads)
    given, lines = [], []
    for argument, value in arguments.items():
        if isinstance(value, Tensor):
            given.append(f"Handle {argument}_")
            dtype = _DTYPES[value.dtype][0]
            lines.append(
                f"const View {argument} = view({argument}_, {value.ndim}, aoti_torch_dtype_{dtype}());"
            )
            lines += [
                f'check({argument}.size[{axis}] == {size}, "`{argument}` has the wrong shape");'
                for axis, size in enumerate(value.shape)
                if isinstance(size, int)
            ]
        elif isinstance(value, torch.SymInt):
            given.append(f"int64_t {argument}")
    lines += [f'check({condition}, "sizes of tensors do not agree");' for condition in kernel.agree]
    for number, sizes in enumerate(kernel.outputs):
        given.append(f"Handle *out{number}_")
        lines.append(
            f"void *out{number} = make(out{number}_, {len(sizes)}, (int64_t[]){{{', '.join(sizes)}}}, "
            f"aoti_torch_dtype_{_DTYPES[kernel.dtype][0]}());"
        )
    body = "\n  ".join([*lines, kernel.call])
    # the kernel's own functions become static by the declarations above them
    return f"""{_HEAD}{kernel.source}
int32_t aoti_torch_cpu_{name}({", ".join(given)}) {{
  {body}
  return 0;
}}
"""


def shim_declaration(name: str, arguments: Mapping[str, Any], outputs: int) -> str:
    """How the package's C++ code declares it."""
    given = [
        "AtenTensorHandle" if isinstance(value, Tensor) else "int64_t"
        for value in arguments.values()
        if isinstance(value, Tensor | torch.SymInt)
    ]
    return f"AOTITorchError aoti_torch_cpu_{name}({', '.join(given + ['AtenTensorHandle*'] * outputs)})"


def _edge_order(arguments: Mapping[str, Any], threads: int) -> Kernel:
    nodes = _size(arguments, "nodes")
    return Kernel(
        SORT_SOURCE,
        (),
        (("2", f"{nodes} + 1 + edges.size[1]"),),
        f"const int64_t nodes_ = {nodes}, count = edges.size[1], length = nodes_ + 1 + count;"
        """
  const int64_t *index = edges.at; int64_t *row = out0;
  for (int to = 1; to >= 0; to--, row += length)
    if (sort_edges(count, nodes_, index + to * count, row, row + nodes_ + 1)) {
      aoti_torch_delete_tensor_object(*out0_);
      check(false, "an edge names an atom that does not exist");
    }""",
        torch.int64,
    )


def _message(arguments: Mapping[str, Any], threads: int) -> Kernel:
    spec, dtype = arguments["spec"], arguments["x"].dtype
    return Kernel(
        forward_source(spec, dtype, _tangents(arguments)),
        _edges("x", "source", "y", "w"),
        (("x.size[0]", str(message_spec(spec).out)),),
        f"forward(x.size[0], (int64_t){threads}, {_at(arguments, 'order')}, {_orders('x')}, "
        f"{_at(arguments, 'source', 'scale', 'x', 'y', 'w', 'dx', 'dy', 'dw')}, out0);",
        dtype,
    )


def _message_backward(arguments: Mapping[str, Any], threads: int) -> Kernel:
    spec, dtype, wanted = arguments["spec"], arguments["x"].dtype, arguments["wanted"]
    return Kernel(
        backward_source(spec, dtype, wanted, _tangents(arguments)),
        (*_edges("x", "target", "y", "w"), "g.size[0] == x.size[0]"),
        tuple(_like(name, 2, name in wanted) for name in "xyw"),
        f"backward(x.size[0], (int64_t){threads}, {_at(arguments, 'order')}, {_orders('x')}, "
        f"{_at(arguments, 'target', 'scale', 'x', 'y', 'w', 'dx', 'dy', 'dw', 'g')}, out0, out1, out2);",
        dtype,
    )


def _power(arguments: Mapping[str, Any], threads: int) -> Kernel:
    text, dtype = arguments["spec"], arguments["a"].dtype
    spec = power_spec(text)
    return Kernel(
        power_source(text, dtype),
        ("species.size[0] == a.size[0]",),
        (("a.size[0]", str(spec.outputs * spec.channels)),),
        f"{_WITHIN_SPECIES} forward(a.size[0], (int64_t){threads}, {_at(arguments, 'species', 'a', 'c')}, out0);",
        dtype,
    )


def _power_backward(arguments: Mapping[str, Any], threads: int) -> Kernel:
    text, dtype, wanted = arguments["spec"], arguments["a"].dtype, arguments["wanted"]
    ranks = {"a": ("a", 2), "c": ("c", 3), "o": ("g", 2)}
    return Kernel(
        power_backward_source(text, dtype, wanted, arguments["da"] is not None),
        ("species.size[0] == a.size[0]", "g.size[0] == a.size[0]"),
        tuple(_like(*ranks[name], name in wanted) for name in "aco"),
        f"{_WITHIN_SPECIES} backward(a.size[0], c.size[0], (int64_t){threads}, "
        f"{_at(arguments, 'species', 'a', 'c', 'g', 'da')}, out0, out1, out2);",
        dtype,
    )


def _couple(arguments: Mapping[str, Any], threads: int) -> Kernel:
    spec, dtype = arguments["spec"], arguments["x"].dtype
    return Kernel(
        couple_source(spec, dtype),
        ("y.size[0] == x.size[0]",),
        (("x.size[0]", str(couple_spec(spec).out)),),
        f"forward(x.size[0], (int64_t){threads}, {_at(arguments, 'x', 'y', 'w')}, out0);",
        dtype,
    )


def _couple_backward(arguments: Mapping[str, Any], threads: int) -> Kernel:
    spec, dtype, wanted = arguments["spec"], arguments["x"].dtype, arguments["wanted"]
    sizes = couple_spec(spec)
    rows = {"x": "x.size[0]", "y": "y.size[0]", "w": f"(x.size[0] + {ROWS - 1}) / {ROWS}"}
    widths = {"x": sizes.left, "y": sizes.right, "w": sizes.weights}
    return Kernel(
        couple_backward_source(spec, dtype, wanted),
        ("y.size[0] == x.size[0]", "g.size[0] == x.size[0]"),
        tuple((rows[name] if name in wanted else "0", str(widths[name])) for name in "xyw"),
        f"backward(x.size[0], (int64_t){threads}, {_at(arguments, 'x', 'y', 'w', 'g')}, out0, out1, out2);",
        dtype,
    )


def _outer_sum(arguments: Mapping[str, Any], threads: int) -> Kernel:
    y, h = arguments["y"], arguments["h"]
    nodes, kinds = _size(arguments, "nodes"), _size(arguments, "kinds")
    return Kernel(
        density_source(y.shape[1], h.shape[1], y.dtype),
        _sorted(nodes, "kind", "h"),
        ((nodes, str(y.shape[1]), f"{kinds} * {h.shape[1]}"),),
        f"within(kind.at, kind.size[0], {kinds}); "
        f"forward((int64_t){nodes}, (int64_t){kinds}, (int64_t){threads}, {_at(arguments, 'order')}, "
        f"(int64_t *)order.at + {nodes} + 1, {_at(arguments, 'kind', 'y', 'h')}, out0);",
        y.dtype,
    )


def _outer_sum_backward(arguments: Mapping[str, Any], threads: int) -> Kernel:
    y, h = arguments["y"], arguments["h"]
    nodes, kinds = _size(arguments, "nodes"), _size(arguments, "kinds")
    return Kernel(
        density_source(y.shape[1], h.shape[1], y.dtype),
        (*_sorted(nodes, "kind", "h"), f"g.size[0] == {nodes}"),
        (_like("y", 2, True), _like("h", 2, True)),
        f"within(kind.at, kind.size[0], {kinds}); "
        f"backward((int64_t){nodes}, (int64_t){kinds}, (int64_t){threads}, {_at(arguments, 'order')}, "
        f"(int64_t *)order.at + {nodes} + 1, {_at(arguments, 'kind', 'y', 'h', 'g')}, out0, out1);",
        y.dtype,
    )


def _table(arguments: Mapping[str, Any], threads: int) -> Kernel:
    columns, dtype = arguments["knots"].shape[3], arguments["r"].dtype
    return Kernel(
        table_source(columns, dtype),
        _kinds(arguments),
        (("r.size[0]", str(columns)),),
        f"{_within_kinds(arguments)} forward(r.size[0], (int64_t){threads}, {_lengths(arguments)}, out0);",
        dtype,
    )


def _table_backward(arguments: Mapping[str, Any], threads: int) -> Kernel:
    dtype = arguments["r"].dtype
    return Kernel(
        table_source(arguments["knots"].shape[3], dtype),
        (*_kinds(arguments), "g.size[0] == r.size[0]"),
        (_like("r", 2, True),),
        f"{_within_kinds(arguments)} backward(r.size[0], (int64_t){threads}, {_lengths(arguments)}, g.at, out0);",
        dtype,
    )


def _table_message(arguments: Mapping[str, Any], threads: int) -> Kernel:
    spec, dtype = arguments["spec"], arguments["x"].dtype
    return Kernel(
        forward_source(spec, dtype, table=True),
        (*_edges("x", "source", "y", "r"), *_kinds(arguments)),
        (("x.size[0]", str(message_spec(spec).out)),),
        f"{_within_kinds(arguments)} forward(x.size[0], (int64_t){threads}, {_at(arguments, 'order')}, "
        f"{_orders('x')}, {_at(arguments, 'source', 'scale', 'x', 'y')}, {_lengths(arguments)}, out0);",
        dtype,
    )


def _table_message_backward(arguments: Mapping[str, Any], threads: int) -> Kernel:
    spec, dtype, wanted = arguments["spec"], arguments["x"].dtype, arguments["wanted"]
    return Kernel(
        backward_source(spec, dtype, wanted, table=True),
        (*_edges("x", "target", "y", "r"), *_kinds(arguments), "g.size[0] == x.size[0]"),
        tuple(_like(name, 2, name in wanted) for name in "xyr"),
        f"{_within_kinds(arguments)} backward(x.size[0], (int64_t){threads}, {_at(arguments, 'order')}, "
        f"{_orders('x')}, {_at(arguments, 'target', 'scale', 'x', 'y')}, {_lengths(arguments)}, g.at, "
        "out0, out1, out2);",
        dtype,
    )


_WITHIN_SPECIES = "within(species.at, species.size[0], c.size[0]);"

_KERNELS: Mapping[str, Callable[[Mapping[str, Any], int], Kernel]] = {
    "edge_order": _edge_order,
    "message": _message,
    "message_backward": _message_backward,
    "power": _power,
    "power_backward": _power_backward,
    "couple": _couple,
    "couple_backward": _couple_backward,
    "outer_sum": _outer_sum,
    "outer_sum_backward": _outer_sum_backward,
    "table": _table,
    "table_backward": _table_backward,
    "table_message": _table_message,
    "table_message_backward": _table_message_backward,
}


def _at(arguments: Mapping[str, Any], *names: str) -> str:
    """Where the numbers of tensors lie; null for none."""
    return ", ".join("(void *)0" if arguments[name] is None else f"{name}.at" for name in names)


def _orders(x: str) -> str:
    """The edges' numbers, behind the rows of the nodes that x belongs to."""
    return f"(int64_t *)order.at + {x}.size[0] + 1"


def _size(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments[name]
    return str(value) if isinstance(value, int) else name


def _like(name: str, dims: int, wanted: bool) -> tuple[str, ...]:
    """The sizes of the gradient by a tensor; empty where it is not wanted."""
    return tuple(f"{name}.size[{axis}]" for axis in range(dims)) if wanted else ("0",)


def _tangents(arguments: Mapping[str, Any]) -> str:
    return "".join(name for name in "xyw" if arguments[f"d{name}"] is not None)


def _edges(x: str, ends: str, *per_edge: str) -> tuple[str, ...]:
    return _sorted(f"{x}.size[0]", ends, *per_edge[1:])


def _sorted(nodes: str, *per_edge: str) -> tuple[str, ...]:
    """All that belongs to edges is as long as y, and so is their order."""
    return (
        *(f"{name}.size[0] == y.size[0]" for name in per_edge),
        f"order.size[0] == {nodes} + 1 + y.size[0]",
    )


def _kinds(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    return () if arguments["kind"] is None else ("kind.size[0] == r.size[0]",)


def _within_kinds(arguments: Mapping[str, Any]) -> str:
    return "" if arguments["kind"] is None else "within(kind.at, kind.size[0], knots.size[0]);"


def _lengths(arguments: Mapping[str, Any]) -> str:
    start, end = float(arguments["start"]), float(arguments["end"])
    return f"{_at(arguments, 'r', 'kind', 'knots')}, knots.size[1] - 1, {start!r}, {end!r}"
