"""Building models: seeds, precisions, statistics, names, what is kept in memory and what is refused."""

import copy
import subprocess
import sys
import weakref

import pytest
import torch
from equic.runtime.build import build_module
from equic.runtime.errors import ArtifactError, DataError
from equic.runtime.layers import LAYERS
from equic.runtime.model import module_name
from equic.runtime.plan import Plan
from equic.runtime.testing.inputs import random_atoms_inputs, random_rotation, rotate_inputs
from equic.runtime.testing.plans import hnn_plan, mace_plan, mlp_plan

PLAN = mace_plan(channels=4, cutoff=3.5, widths=(8,))
STATISTICS = {
    "average_neighbors": 7.3,
    "atomic_energies": [-13.1, -1029.3, -2041.7],
    "scale": 0.37,
    "shift": 0.011,
}


@pytest.fixture(scope="module")
def inputs():
    return random_atoms_inputs(PLAN, 2, 5, seed=0, periodic=True)


def changed(plan, change):
    data = plan.to_json()
    change(data)
    return Plan.from_json(data)


def test_one_seed_gives_one_model_whatever_the_global_generator_does():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = build_module(PLAN, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    second = build_module(PLAN, seed=5).state_dict()
    other = build_module(PLAN, seed=6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    weights = [name for name in first if name.startswith("steps.")]
    assert not any(torch.equal(first[name], other[name]) for name in weights)


def test_precisions_share_their_weights_up_to_rounding():
    single, double = build_module(PLAN, seed=5), build_module(PLAN, seed=5, dtype=torch.float64)
    for name, value in double.named_parameters():
        assert torch.equal(single.get_parameter(name), value.float())
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)


def test_a_step_more_leaves_the_weights_of_the_others_alone():
    shallow, deep = (
        build_module(mace_plan(channels=4, layers=1)),
        build_module(mace_plan(channels=4, layers=2)),
    )
    assert torch.equal(shallow.get_parameter("steps.As1.weight"), deep.get_parameter("steps.As1.weight"))
    relaxed = build_module(mace_plan(channels=4, layers=2, mode=("relaxed", 0.1)))
    assert torch.equal(relaxed.get_parameter("steps.up1.weight"), deep.get_parameter("steps.up1.weight"))


def test_a_model_cast_down_and_up_again_keeps_exact_tables_and_statistics(inputs):
    model = build_module(PLAN)
    model.set_statistics(STATISTICS)
    model.float().double()
    assert model.statistics.atomic_energies.tolist() == STATISTICS["atomic_energies"]
    assert {value.dtype for value in model.statistics.buffers()} == {torch.float64}
    element = random_rotation(1, improper=True)
    plain, turned = model(inputs), model(rotate_inputs(inputs, element))
    # tables that had passed through float32 would be wrong by 1e-8
    torch.testing.assert_close(turned["forces"], plain["forces"] @ element.T, atol=1e-12, rtol=1e-10)


def test_energies_are_double_in_a_single_precision_model(inputs):
    model = build_module(PLAN)
    model.set_statistics(STATISTICS)
    outputs = model(inputs)
    assert {name: value.dtype for name, value in outputs.items()} == dict.fromkeys(
        ("energy", "forces", "stress", "node_energy"), torch.float64
    )
    assert outputs["energy"].shape == (2,)
    assert outputs["forces"].shape == (10, 3)
    assert outputs["stress"].shape == (2, 3, 3)
    assert outputs["node_energy"].shape == (10,)
    sums = torch.stack([outputs["node_energy"][:5].sum(), outputs["node_energy"][5:].sum()])
    torch.testing.assert_close(outputs["energy"], sums, rtol=1e-14, atol=0)


def test_the_state_dict_names_steps_and_statistics_and_loads_back(inputs):
    model = build_module(PLAN, seed=1)
    model.set_statistics(STATISTICS)
    state = model.state_dict()
    assert {name.split(".")[0] for name in state} == {"steps", "statistics"}
    assert "steps.B1.weight" in state
    assert state["statistics.scale"] == 0.37
    fresh = build_module(PLAN, seed=2)
    fresh.load_state_dict(state)
    torch.testing.assert_close(fresh(inputs), model(inputs), rtol=0, atol=0)
    torch.testing.assert_close(copy.deepcopy(model)(inputs), model(inputs), rtol=0, atol=0)


def test_statistics_are_checked():
    model = build_module(PLAN)
    assert {name: value.tolist() for name, value in model.statistics.named_buffers()} == {
        "average_neighbors": 1.0,
        "atomic_energies": [0.0, 0.0, 0.0],
        "scale": 1.0,
        "shift": 0.0,
    }
    with pytest.raises(DataError, match="no statistic `mean`"):
        model.set_statistics({"mean": 1.0})
    with pytest.raises(DataError, match="takes 3 numbers, not 2"):
        model.set_statistics({"atomic_energies": [1.0, 2.0]})


def test_outputs_are_plain_numbers_unless_a_graph_is_asked_for(inputs):
    model = build_module(PLAN)
    for context in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with context():
            outputs = model(inputs)
        assert not any(value.requires_grad for value in outputs.values())
        torch.testing.assert_close(outputs["forces"], model(inputs)["forces"])
        assert outputs["forces"].any()
    assert all(value.requires_grad for value in model(inputs, create_graph=True).values())
    with torch.inference_mode():
        made_inside = {name: value.clone() for name, value in inputs.items()}
        torch.testing.assert_close(model(made_inside)["forces"], outputs["forces"])
    assert not inputs["positions"].requires_grad


def test_an_evaluation_of_a_free_flow_builds_no_graph():
    model, z = build_module(mlp_plan(2)), torch.ones(3, 2)
    assert not model({"state": z})["derivatives"].requires_grad
    assert model({"state": z}, create_graph=True)["derivatives"].requires_grad


def test_a_flow_has_the_precision_of_its_state():
    for plan in (hnn_plan(2), mlp_plan(2)):
        for model_dtype in (torch.float32, torch.float64):
            for dtype in (torch.float32, torch.float64):
                outputs = build_module(plan, dtype=model_dtype)({"state": torch.ones(3, 2, dtype=dtype)})
                assert {value.dtype for value in outputs.values()} == {dtype}


def test_any_step_can_be_looked_at(inputs):
    model = build_module(PLAN, dtype=torch.float64)  # forces of the whole run come by another route
    for step in PLAN.steps:
        value = model.intermediate(inputs, step.name)
        assert not value.requires_grad
        if step.layer not in ("input", "shift_scale") and step.name not in ("energy", "stress"):
            assert value.shape[-1] == step.dim
    torch.testing.assert_close(model.intermediate(inputs, "forces"), model(inputs)["forces"])
    with pytest.raises(ArtifactError, match="no step `B7`"):
        model.intermediate(inputs, "B7")


def test_values_are_let_go_after_their_last_use(inputs):
    model = build_module(mlp_plan(2))
    plan = changed(
        mlp_plan(2),
        lambda d: (
            d["steps"].append({**d["steps"][1], "name": "second", "inputs": ["dz"]})
            or d["outputs"]["derivatives"].update(step="second")
        ),
    )
    model = build_module(plan)
    seen = []
    model.layer("dz").register_forward_hook(lambda *args: seen.append(weakref.ref(args[2])))
    alive = []
    model.layer("second").register_forward_hook(lambda *args: alive.append(seen[0]() is not None))
    model({"state": torch.ones(3, 2)})
    assert alive == [True]
    assert seen[0]() is None


def test_names_of_steps_become_names_of_modules():
    plan = changed(
        hnn_plan(2, separable=False),
        lambda d: d["steps"][1].update(name="net.0/H") or d["steps"][2].update(inputs=["net.0/H", "state"]),
    )
    assert "steps.net__0_2f_H.weights.0" in build_module(plan).state_dict()
    assert module_name("train") == "train_"
    clash = changed(plan, lambda d: d["steps"].append({**d["steps"][1], "name": "net__0_2f_H"}))
    with pytest.raises(ArtifactError, match="differ only in special characters"):
        build_module(clash)


def test_what_this_runtime_does_not_know_is_refused():
    with pytest.raises(ArtifactError, match="step `v`: this runtime has no layer `wave`"):
        build_module(changed(PLAN, lambda d: d["steps"][2].update(layer="wave")))
    with pytest.raises(ArtifactError, match="step `b`: layer `radial` refuses its parameters: KeyError"):
        build_module(changed(PLAN, lambda d: d["steps"][4]["params"].pop("cutoff")))


def test_a_missing_input_is_named(inputs):
    model = build_module(PLAN)
    with pytest.raises(DataError, match="needs the input `shifts`"):
        model({name: value for name, value in inputs.items() if name != "shifts"})


def test_layers_are_named_once():
    """But for the turn into a frame and back, which are one layer."""
    names = {name for name in LAYERS if name != "from_frame"}
    assert LAYERS["from_frame"] is LAYERS["to_frame"]
    assert len(names) == len({LAYERS[name] for name in names})


def test_a_first_call_imports_nothing_slow():
    """Algebra and compilers of torch take a second to import; a model that gives numbers needs none of them."""
    code = (
        "import sys; from equic.runtime.build import build_module; from equic.runtime.neighbors import model_inputs\n"
        "from equic.runtime.testing.plans import mace_plan; from ase.build import molecule\n"
        "plan = mace_plan(channels=4, lmax=1, mode=('relaxed', 0.3))\n"
        "model = build_module(plan); inputs = model_inputs([molecule('CH3CH2OH')], plan)\n"
        "before = set(sys.modules); model(inputs)\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before} | "
        "({'torch._dynamo', 'sympy'} & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= {"equic"}
