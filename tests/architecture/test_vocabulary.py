"""The closed tables agree with each other: ops, their union, the runtime's layers, references, presets."""

import typing

import pytest
from equic.compiler.ir import ops
from equic.compiler.language.presets import load_preset, preset_names
from equic.runtime.layers import LAYERS


def kinds(classes):
    return {op.model_fields["kind"].default for op in classes}


def test_the_union_of_ops_is_the_table_of_ops():
    union = typing.get_args(typing.get_args(ops.AnyOp)[0])
    assert set(union) == set(ops.OPS)


def test_every_op_has_a_layer_and_every_layer_an_op():
    assert kinds(ops.OPS) == set(LAYERS)


@pytest.mark.parametrize("op", ops.OPS, ids=lambda op: op.__name__)
def test_every_op_has_a_type_rule_a_reference_and_a_docstring(op):
    assert op.infer is not ops.Op.infer
    assert op.reference
    assert "Type" in op.__doc__ or "Verdict" in op.__doc__ or "exact" in op.__doc__.lower()


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_named_like_its_file(name):
    preset = load_preset(name)
    assert preset.preset == name
    assert preset.cites
