"""One op by itself: its inference, and the layer that its lowering builds."""

import json

import torch
from equic.compiler.ir.ops.base import Scope, Site
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.spans import Position, Span
from equic.runtime.layers import LAYERS

SCOPE = Scope("atoms", ("SO(3)", "inversion", "translation", "permutation"), ("H", "O"), 4.0)


def infer(op, types):
    """The type of an op, and the site with its report and reasons; the op is called `op`."""
    site = Site("op", Span("spec.yaml", Position(1, 1), Position(1, 2)), SCOPE, Report())
    return op.infer(types, site), site


def rebuilt(op, types, result, seed=0, dtype=torch.float64):
    """The layer of an op, by way of JSON as in a plan."""
    params = json.loads(json.dumps(op.lower(types, result, SCOPE)))
    layer = LAYERS[op.kind](params)
    layer.initialise(torch.Generator().manual_seed(seed))
    return layer.to(dtype)
