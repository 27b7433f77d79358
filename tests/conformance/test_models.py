"""Whole models built from plans: symmetry, derivatives against finite differences, limits, and tracing."""

import numpy as np
import pytest
import torch
from equic.runtime.build import build_module
from equic.runtime.testing.inputs import (
    batch,
    permute_inputs,
    random_atoms_inputs,
    random_rotation,
    rotate_inputs,
    translate_inputs,
)
from equic.runtime.testing.plans import hnn_plan, mace_plan, mlp_plan, pairwise_plan
from torch.fx.experimental.proxy_tensor import make_fx

PLAN = mace_plan(channels=4, cutoff=3.5)
ELEMENTS = {"rotation": random_rotation(1), "improper": random_rotation(2, improper=True)}


def mace(plan=PLAN, dtype=torch.float64, seed=0):
    model = build_module(plan, seed=seed, dtype=dtype)
    model.set_statistics(
        {"average_neighbors": 8.0, "atomic_energies": [-1.0, -2.0, -3.0], "scale": 0.5, "shift": 0.1}
    )
    return model


@pytest.fixture(scope="module")
def model():
    return mace()


@pytest.fixture(scope="module")
def crystal():
    return random_atoms_inputs(PLAN, 2, 6, seed=3, periodic=True)


@pytest.fixture(scope="module")
def molecule():
    return random_atoms_inputs(PLAN, 1, 6, seed=4)


def relative(a, b):
    return float((a - b).abs().max() / b.square().mean().sqrt())


def central_difference(function, x, h):
    """dE/dx of a scalar function by central differences of fourth order."""
    result = torch.zeros_like(x)
    for i in range(x.numel()):

        def at(step, i=i):
            y = x.clone()
            y.view(-1)[i] += step
            return function(y)

        result.view(-1)[i] = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    return result


@pytest.mark.parametrize("name", ELEMENTS)
def test_energy_forces_and_stress_turn_with_the_system(model, crystal, name):
    element, plain = ELEMENTS[name], model(crystal)
    turned = model(rotate_inputs(crystal, element))
    assert relative(turned["energy"], plain["energy"]) < 1e-12
    assert relative(turned["node_energy"], plain["node_energy"]) < 1e-12
    assert relative(turned["forces"], plain["forces"] @ element.T) < 1e-11
    assert relative(turned["stress"], element @ plain["stress"] @ element.T) < 1e-11


@pytest.mark.parametrize("name", ELEMENTS)
def test_single_precision_is_equivariant_to_its_rounding(crystal, name):
    model, element = mace(dtype=torch.float32), ELEMENTS[name]
    plain, turned = model(crystal), model(rotate_inputs(crystal, element))
    assert relative(turned["forces"], plain["forces"] @ element.T) < 1e-5
    exact = mace()(crystal)
    assert relative(plain["forces"], exact["forces"]) < 1e-5
    assert relative(plain["energy"], exact["energy"]) < 1e-6


@pytest.mark.parametrize("mode", [("relaxed", 0.1), "free"], ids=str)
def test_a_relaxed_model_breaks_rotation_but_not_translation_or_permutation(crystal, mode):
    model = mace(mace_plan(channels=4, cutoff=3.5, mode=mode))
    plain = model(crystal)
    for element in ELEMENTS.values():
        assert relative(model(rotate_inputs(crystal, element))["energy"], plain["energy"]) > 1e-4
    moved = model(translate_inputs(crystal, torch.tensor([0.3, -2.0, 1.0], dtype=torch.float64)))
    assert relative(moved["forces"], plain["forces"]) < 1e-10
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    order = torch.cat((order, order + 6))
    assert relative(model(permute_inputs(crystal, order))["forces"], plain["forces"][order]) < 1e-10


def test_the_breaking_of_a_relaxed_model_is_linear_in_its_strength(molecule):
    def error(strength):
        model = mace(mace_plan(channels=4, cutoff=3.5, mode=("relaxed", strength)))
        plain, turned = model(molecule), model(rotate_inputs(molecule, ELEMENTS["rotation"]))
        return float((plain["energy"] - turned["energy"]).abs().max())

    assert error(1e-4) / error(1e-6) == pytest.approx(100.0, rel=0.02)


def test_translations_and_lattice_vectors_change_nothing(model, crystal):
    plain = model(crystal)
    moved = model(translate_inputs(crystal, torch.tensor([0.3, -2.0, 1.0], dtype=torch.float64)))
    assert relative(moved["energy"], plain["energy"]) < 1e-12
    # one atom, moved by a lattice vector; the images of its edges move with it
    step = torch.zeros(12, 3, dtype=torch.float64)
    step[2] = torch.tensor([1.0, -1.0, 0.0])
    lattice = crystal["cell"][crystal["system"]]
    positions = crystal["positions"] + torch.einsum("ni,nij->nj", step, lattice)
    shifts = crystal["shifts"] + step[crystal["edges"][1]] - step[crystal["edges"][0]]
    wrapped = model({**crystal, "positions": positions, "shifts": shifts})
    for name, value in plain.items():
        assert relative(wrapped[name], value) < 1e-10


def test_atoms_have_no_order(model, crystal):
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    order = torch.cat((order + 6, order)).sort().values  # keep systems in place
    order = torch.cat((order[:6].flip(0), order[6:].roll(2)))
    plain, permuted = model(crystal), model(permute_inputs(crystal, order))
    assert relative(permuted["energy"], plain["energy"]) < 1e-12
    assert relative(permuted["forces"], plain["forces"][order]) < 1e-11


def test_far_copies_add_up_and_a_batch_is_its_members(model):
    rng = np.random.default_rng(0)
    positions, species = rng.uniform(0, 3.0, (5, 3)), rng.integers(0, 3, 5)
    none = np.zeros((3, 3))
    one = (positions, species, none)
    far = (np.concatenate((positions, positions + 50.0)), np.concatenate((species, species)), none)
    outputs = model(batch([one, far, (positions[:2], species[:2], none)], 3.5))
    assert float(outputs["energy"][1]) == pytest.approx(2 * float(outputs["energy"][0]), rel=1e-12)
    alone = model(batch([one], 3.5))
    torch.testing.assert_close(outputs["energy"][:1], alone["energy"], rtol=1e-12, atol=0)
    torch.testing.assert_close(outputs["forces"][5:10], alone["forces"], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(outputs["forces"][10:15], alone["forces"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["molecule", "crystal"])
def test_forces_are_minus_the_gradient_by_finite_differences(model, kind, request):
    inputs = request.getfixturevalue(kind)

    def energy(positions):
        return model({**inputs, "positions": positions})["energy"].sum()

    expected = -central_difference(energy, inputs["positions"], 1e-3)
    assert relative(model(inputs)["forces"], expected) < 1e-7


def test_stress_is_the_gradient_by_strain_over_the_volume(model, crystal):
    volume = torch.linalg.det(crystal["cell"]).abs()

    def energy(strain):
        deformed = torch.eye(3, dtype=torch.float64) + (strain + strain.transpose(1, 2)) / 2
        positions = torch.einsum("nij,nj->ni", deformed[crystal["system"]], crystal["positions"])
        cell = crystal["cell"] @ deformed.transpose(1, 2)
        return model({**crystal, "positions": positions, "cell": cell})["energy"].sum()

    gradient = central_difference(energy, torch.zeros(2, 3, 3, dtype=torch.float64), 1e-3)
    stress = model(crystal)["stress"]
    assert relative(stress, gradient / volume[:, None, None]) < 1e-7
    torch.testing.assert_close(stress, stress.transpose(1, 2))


@pytest.mark.parametrize("mode", ["hard", ("relaxed", 0.1)], ids=str)
def test_a_loss_on_forces_and_stress_reaches_every_weight_with_the_right_gradient(crystal, mode):
    model = mace(mace_plan(channels=2, cutoff=3.5, mode=mode, widths=(4,)))

    def loss():
        outputs = model(crystal, create_graph=True)
        return (
            outputs["energy"].square().sum()
            + outputs["forces"].square().sum()
            + 1e4 * outputs["stress"].square().sum()
        )

    loss().backward()
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        direction = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        values = []
        for step in (1e-4, -1e-4):
            with torch.no_grad():
                weight += step * direction
            values.append(float(loss().detach()))
            with torch.no_grad():
                weight -= step * direction
        slope = (values[0] - values[1]) / 2e-4
        assert float((weight.grad * direction).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-5), name


def test_the_hessian_is_symmetric(model, molecule):
    def forces(positions):
        return model({**molecule, "positions": positions}, create_graph=True)["forces"]

    hessian = torch.autograd.functional.jacobian(forces, molecule["positions"]).reshape(18, 18)
    assert relative(hessian, hessian.T) < 1e-11
    step = 1e-4 * torch.eye(18, dtype=torch.float64)[4].view(6, 3)
    change = (forces(molecule["positions"] + step) - forces(molecule["positions"] - step)).detach() / 2e-4
    assert relative(hessian[:, 4], change.flatten()) < 1e-5


def test_the_energy_is_smooth_where_a_neighbour_leaves(model):
    # an atom crosses the cutoff of the other: energy and force change like the envelope, by nothing at first order
    species, none = np.array([0, 1]), np.zeros((3, 3))
    cutoff = PLAN.system["cutoff"]
    frames = [(np.array([[0.0, 0, 0], [cutoff + gap, 0, 0]]), species, none) for gap in (-1e-3, -1e-5, 1e-3)]
    outputs = model(batch(frames, cutoff + 1.0))
    energies, forces = outputs["energy"], outputs["forces"].abs().amax(1)
    assert abs(energies[1] - energies[2]) < 1e-12
    assert forces[2:4].max() < 1e-8
    assert forces[4:].max() == 0.0


def test_atoms_without_neighbours_have_finite_energies_and_no_forces(model):
    none = np.zeros((3, 3))
    single = (np.zeros((1, 3)), np.array([1]), none)
    pair = (np.array([[0.0, 0, 0], [1.1, 0, 0]]), np.array([0, 1]), none)
    for frames in ([single], [single, single], [single, pair, single]):
        outputs = model(batch(frames, 3.5))
        assert outputs["energy"].isfinite().all()
        assert not outputs["forces"][0].any()
        assert not outputs["stress"].any()  # no volume, no stress
        assert float(outputs["energy"][0]) == pytest.approx(
            float(model(batch([single], 3.5))["energy"]), rel=1e-14
        )


@pytest.mark.parametrize("mode", ["hard", ("relaxed", 0.1)], ids=str)
def test_a_symbolic_trace_computes_the_same_at_other_sizes(mode):
    plan = mace_plan(
        channels=4, cutoff=3.0, mode=mode, lmax=1, correlation=2, layers=2 if mode == "hard" else 1
    )
    model = mace(plan).requires_grad_(False)
    example = random_atoms_inputs(plan, 17, 2, seed=0, periodic=True)
    names = list(example)

    def function(*values):
        return model(dict(zip(names, values, strict=True)))

    traced = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*example.values())
    for inputs in (
        random_atoms_inputs(plan, 2, 7, seed=1, periodic=True),
        random_atoms_inputs(plan, 1, 1, seed=2),
        random_atoms_inputs(plan, 1, 20, seed=3),
    ):
        for name, value in traced(*inputs.values()).items():
            torch.testing.assert_close(value, model(inputs)[name], rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------------------------------------- phase space


@pytest.mark.parametrize(
    "plan", [hnn_plan(4), hnn_plan(4, separable=False), pairwise_plan()], ids=lambda p: p.name
)
def test_a_hamiltonian_flow_is_the_rotated_gradient_and_symplectic(plan):
    model, dim = build_module(plan, dtype=torch.float64), plan.system["dim"]
    z = torch.randn(3, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    outputs = model({"state": z})
    assert outputs["hamiltonian"].shape == (3,)
    gradient = central_difference(lambda y: model({"state": y})["hamiltonian"].sum(), z, 1e-3)
    expected = torch.cat((gradient[:, dim // 2 :], -gradient[:, : dim // 2]), dim=1)
    assert relative(outputs["derivatives"], expected) < 1e-8
    # the Jacobian of a Hamiltonian field, turned back by J, is symmetric
    jacobian = torch.autograd.functional.jacobian(
        lambda y: model({"state": y[None]}, create_graph=True)["derivatives"][0], z[0]
    )
    half = dim // 2
    hessian = torch.cat((-jacobian[half:], jacobian[:half]))
    torch.testing.assert_close(hessian, hessian.T, atol=1e-12, rtol=0)


def test_two_bodies_keep_momentum_and_angular_momentum():
    model = build_module(pairwise_plan(), dtype=torch.float64)
    z = torch.randn(5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flow = model({"state": z})["derivatives"]
    force = flow[:, 4:6] + flow[:, 6:8]
    assert force.abs().max() < 1e-14
    q, p, dq, dp = (x.view(5, 2, 2) for x in (*z.split(4, 1), *flow.split(4, 1)))
    cross = lambda a, b: (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(1)  # noqa: E731
    assert (cross(dq, p) + cross(q, dp)).abs().max() < 1e-13
    turn = torch.kron(
        torch.eye(4, dtype=torch.float64), torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    )
    torch.testing.assert_close(
        model({"state": z @ turn.T})["derivatives"], flow @ turn.T, atol=1e-13, rtol=1e-12
    )
    swap = [2, 3, 0, 1, 6, 7, 4, 5]
    torch.testing.assert_close(
        model({"state": z[:, swap]})["derivatives"], flow[:, swap], atol=1e-13, rtol=1e-12
    )


def test_gradients_of_a_flow_reach_earlier_states_and_weights():
    model = build_module(hnn_plan(2), dtype=torch.float64)
    z = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def two_steps(y):
        for _ in range(2):
            y = y + 0.1 * model({"state": y}, create_graph=True)["derivatives"]
        return y

    assert torch.autograd.gradcheck(two_steps, z.requires_grad_(True))
    two_steps(z).square().sum().backward()
    # the last bias of each potential moves H by a constant: nobody feels it
    idle = {f"steps.{name}.biases.2" for name in ("V", "T")}
    assert {name for name, w in model.named_parameters() if w.grad is None or not w.grad.any()} == idle


@pytest.mark.parametrize("plan", [hnn_plan(2), mlp_plan(2), pairwise_plan()], ids=lambda p: p.name)
def test_flows_can_be_traced(plan):
    model, dim = build_module(plan, dtype=torch.float64).requires_grad_(False), plan.system["dim"]
    traced = make_fx(lambda z: model({"state": z}), tracing_mode="symbolic", _allow_non_fake_inputs=True)(
        torch.randn(23, dim, dtype=torch.float64)
    )
    z = torch.randn(5, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for name, value in traced(z).items():
        torch.testing.assert_close(value, model({"state": z})[name])
