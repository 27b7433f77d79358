"""Plans: exact round trips, and refusal of whatever is not a plan."""

import copy
import json

import pytest
from equic.runtime.errors import ArtifactError
from equic.runtime.irreps import Irreps
from equic.runtime.plan import Plan
from equic.runtime.testing.plans import hnn_plan, mace_plan, mlp_plan, pairwise_plan
from hypothesis import given
from hypothesis import strategies as st

PLANS = {
    "mace": mace_plan(),
    "relaxed mace": mace_plan(mode=("relaxed", 0.1), stress=False),
    "free mace": mace_plan(mode="free", layers=1),
    "hnn": hnn_plan(4, separable=False),
    "separable hnn": hnn_plan(),
    "mlp": mlp_plan(),
    "pairwise": pairwise_plan(),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_survives_json_exactly(name):
    plan = PLANS[name]
    text = json.dumps(plan.to_json())
    again = Plan.from_json(json.loads(text))
    assert again == plan
    assert json.dumps(again.to_json()) == text


@pytest.mark.parametrize("name", PLANS)
def test_every_step_declares_the_size_of_its_representation(name):
    for step in PLANS[name].steps:
        if step.name != "species":
            assert Irreps.parse(step.rep).dim == step.dim


def damaged(change):
    data = copy.deepcopy(mace_plan().to_json())
    change(data)
    return data


DAMAGES = {
    "the plan has version 99": lambda d: d.update(version=99),
    "the plan has version None": lambda d: d.pop("version"),
    "unknown key `colour`": lambda d: d.update(colour="red"),
    "key `claims` is missing": lambda d: d.pop("claims"),
    "step 3: unknown key `note`": lambda d: d["steps"][3].update(note=1),
    "step 3: key `dim` is missing": lambda d: d["steps"][3].pop("dim"),
    "two steps are called `v`": lambda d: d["steps"][3].update(name="v"),
    "reads `later`, which no earlier step": lambda d: d["steps"][3].update(inputs=["later"]),
    "names no field": lambda d: d["steps"][0].update(params={}),
    "names step `nowhere`": lambda d: d["outputs"]["energy"].update(step="nowhere"),
    "unknown kind of system `gas`": lambda d: d.update(kind="gas"),
    "system: unknown key `charge`": lambda d: d["system"].update(charge=1),
    "train: unknown key `speed`": lambda d: d["train"].update(speed=1),
    "train: key `loss` is missing": lambda d: d["train"].pop("loss"),
    "claim 0: expected a mapping": lambda d: d["claims"].__setitem__(0, "exact"),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_a_damaged_plan_is_refused_with_the_reason(message):
    with pytest.raises(ArtifactError, match=message.replace("(", r"\(")):
        Plan.from_json(damaged(DAMAGES[message]))


def test_something_else_is_no_plan():
    with pytest.raises(ArtifactError, match="a plan is a mapping, not list"):
        Plan.from_json([])
    with pytest.raises(ArtifactError, match="has no step `B9`"):
        mace_plan().step("B9")


irreps_o3 = st.lists(st.tuples(st.integers(1, 70), st.integers(0, 9), st.sampled_from("eo")), min_size=1)


@given(irreps_o3)
def test_irreps_print_what_they_parse(parts):
    text = "+".join(f"{mul}x{l}{p}" for mul, l, p in parts)
    irreps = Irreps.parse(text)
    assert str(irreps) == text
    assert irreps.dim == sum(mul * (2 * l + 1) for mul, l, _ in parts)
    assert irreps.count == sum(mul for mul, _, _ in parts)
    stops = [block.slice.stop for block in irreps]
    assert [block.slice.start for block in irreps] == [0, *stops[:-1]]


@pytest.mark.parametrize(
    ("text", "group", "dim", "printed"),
    [
        ("2x1+3x0", "SO(2)", 7, "2x1+3x0"),
        ("5", "trivial", 5, "5"),
        ("0e", "O(3)", 1, "1x0e"),
        (" 1o + 2e", "O(3)", 8, "1x1o+1x2e"),
        ("", "O(3)", 0, ""),
    ],
)
def test_irreps_of_other_groups(text, group, dim, printed):
    irreps = Irreps.parse(text)
    assert (irreps.group, irreps.dim, str(irreps)) == (group, dim, printed)


@pytest.mark.parametrize("text", ["1y", "2x1e+3x0", "x1o", "-1x0e", "1x0e+", "five"])
def test_what_is_no_representation_is_refused(text):
    with pytest.raises(ArtifactError, match="is no representation"):
        Irreps.parse(text)
