"""One thing broken at a time: the item that should see it does, and those that should not, do not.

The model is an analytic potential written here, independent of everything that the package builds: a pair term, a
density term and a vector term with a smooth envelope, energies in eV. Every fault is planted in its inputs,
its inside or its outputs.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from equic.runtime.build import Model, build_module
from equic.runtime.certify import Certificate, atoms_dynamics, certify
from equic.runtime.certify.atoms_locality import extensivity_item, smoothness_items
from equic.runtime.certify.atoms_symmetry import lattice_item, symmetry_items
from equic.runtime.certify.baseline import measure_baseline
from equic.runtime.certify.frames import random_frames
from equic.runtime.certify.rotations import haar_rotations
from equic.runtime.certify.subject import Subject
from equic.runtime.layers.geometry import SphericalHarmonics
from equic.runtime.layers.radial import envelope_of
from equic.runtime.tables.wigner import wigner_D
from equic.runtime.testing.plans import mace_plan, pairwise_plan
from torch import Tensor

Outputs = dict[str, Tensor]
SO3 = {f"SO(3) equivariance, {target}" for target in ("energy", "forces", "stress")}
WORST = "SO(3) equivariance, worst rotation"
CUTOFF = {"smoothness at the cutoff", "order at the cutoff"}
INVERSION = {f"inversion equivariance, {target}" for target in ("energy", "forces", "stress")}


class Potential:
    """sum over pairs of a exp(-r) f(r) - sqrt(density) + tanh |vector|², f the envelope (1 - r²/rc²)³."""

    def __init__(self, cutoff: float = 4.0) -> None:
        self.plan = mace_plan(cutoff=cutoff)
        self.dtype = torch.float64
        self.cutoff = cutoff

    def envelope(self, r: Tensor) -> Tensor:
        return torch.relu(1.0 - (r / self.cutoff) ** 2) ** 3

    def radial(self, v: Tensor) -> Tensor:
        """The pair term as a function of edge vectors."""
        r = v.norm(dim=1)
        return 0.2 * torch.exp(-1.3 * (r - 1.5)) * self.envelope(r)

    def total(self, node: Tensor, system: Tensor, systems: int) -> Tensor:
        return torch.zeros(systems, dtype=torch.float64).index_add(0, system, node)

    def __call__(self, inputs: dict[str, Tensor]) -> Outputs:
        cell, system = inputs["cell"], inputs["system"]
        positions = inputs["positions"].detach().requires_grad_(True)
        strain = torch.zeros_like(cell).requires_grad_(True)
        with torch.enable_grad():
            node = self.node_energies(inputs, positions, (strain + strain.mT) / 2)
            energy = self.total(node, system, len(cell))
            gradient, virial = torch.autograd.grad(energy.sum(), [positions, strain])
        volume = torch.linalg.det(cell).abs()[:, None, None]
        stress = torch.where(volume > 0, virial / torch.where(volume > 0, volume, 1.0), 0.0)
        return {
            "energy": energy.detach(),
            "forces": -gradient,
            "stress": stress,
            "node_energy": node.detach(),
        }

    def node_energies(self, inputs: dict[str, Tensor], positions: Tensor, strain: Tensor) -> Tensor:
        j, i = inputs["edges"]
        system, z = inputs["system"], inputs["species"].double() + 1.0
        x = positions + torch.einsum("na,nab->nb", positions, strain[system])
        cell = inputs["cell"] + inputs["cell"] @ strain
        v = x[i] - x[j] - torch.einsum("ea,eab->eb", inputs["shifts"], cell[system[i]])
        r = v.norm(dim=1)
        weight = torch.exp(-0.7 * r) * self.envelope(r) * z[j]
        nothing = torch.zeros_like(z)
        density = nothing.index_add(0, i, weight)
        vector = torch.zeros(len(z), 3, dtype=torch.float64).index_add(0, i, v * weight[:, None])
        pair = nothing.index_add(0, i, self.radial(v) * torch.sqrt(z[i] * z[j]))
        return -10.0 * z + pair - torch.sqrt(density + 0.1) + 0.1 * torch.tanh((vector**2).sum(1))


class WithoutEnvelope(Potential):
    """Pairs vanish at the cutoff at once."""

    def envelope(self, r: Tensor) -> Tensor:
        return torch.ones_like(r)


class TooFewDerivatives(Potential):
    """An envelope (1 - r/rc)², whose second derivative jumps, under a claim of C2."""

    def envelope(self, r: Tensor) -> Tensor:
        return torch.relu(1.0 - r / self.cutoff) ** 2


class AnisotropicByAMillionth(Potential):
    """A coefficient of a kernel off by 1e-6: the pair term sees x a little larger than it is."""

    def radial(self, v: Tensor) -> Tensor:
        return super().radial(v * torch.tensor([1.0 + 1e-6, 1.0, 1.0], dtype=v.dtype))


class Float32Sum(Potential):
    """Node energies summed in float32."""

    def total(self, node: Tensor, system: Tensor, systems: int) -> Tensor:
        return torch.zeros(systems).index_add(0, system, node.float()).double()


class AbsolutePlaces(Potential):
    """A field that depends on where the atoms are."""

    def node_energies(self, inputs: dict[str, Tensor], positions: Tensor, strain: Tensor) -> Tensor:
        node = super().node_energies(inputs, positions, strain)
        x = positions + torch.einsum("na,nab->nb", positions, strain[inputs["system"]])
        return node + 1e-4 * x[:, 2]


class MeanOverAtoms(Potential):
    """The energy per atom in place of the energy: not extensive."""

    def total(self, node: Tensor, system: Tensor, systems: int) -> Tensor:
        count = torch.zeros(systems, dtype=torch.float64).index_add(0, system, torch.ones_like(node))
        return super().total(node, system, systems) / count


class Chiral(Potential):
    """A pseudoscalar in the energy: the triple product of three moments of the neighbours."""

    def node_energies(self, inputs: dict[str, Tensor], positions: Tensor, strain: Tensor) -> Tensor:
        node = super().node_energies(inputs, positions, strain)
        j, i = inputs["edges"]
        system, z = inputs["system"], inputs["species"].double() + 1.0
        x = positions + torch.einsum("na,nab->nb", positions, strain[system])
        cell = inputs["cell"] + inputs["cell"] @ strain
        v = x[i] - x[j] - torch.einsum("ea,eab->eb", inputs["shifts"], cell[system[i]])
        f = self.envelope(v.norm(dim=1))
        none = torch.zeros(len(z), 3, dtype=torch.float64)
        a, b, c = (none.index_add(0, i, v * (f**n * z[j] ** n)[:, None]) for n in (1, 2, 3))
        return node + 1e-4 * (torch.linalg.cross(a, b) * c).sum(1)


class Changed(Potential):
    """A potential whose inputs or outputs pass through a fault."""

    def __init__(
        self,
        before: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda inputs: inputs,
        after: Callable[[dict[str, Tensor], Outputs], Outputs] = lambda inputs, outputs: outputs,
    ) -> None:
        super().__init__()
        self.before, self.after = before, after

    def __call__(self, inputs: dict[str, Tensor]) -> Outputs:
        return self.after(inputs, super().__call__(self.before(inputs)))


def scaled_forces(_: dict[str, Tensor], out: Outputs) -> Outputs:
    return {**out, "forces": 1.001 * out["forces"]}


def curl_in_forces(inputs: dict[str, Tensor], out: Outputs) -> Outputs:
    """A force field of its own: each atom pushed around the centre, which no energy does."""
    system, count = inputs["system"], torch.bincount(inputs["system"]).double()
    zero = torch.zeros(len(count), 3, dtype=torch.float64)
    centre = zero.index_add(0, system, inputs["positions"]) / count[:, None]
    arm = inputs["positions"] - centre[system]
    axis = torch.tensor([0.0, 0.0, 0.05], dtype=torch.float64).expand_as(arm)
    return {**out, "forces": out["forces"] + torch.linalg.cross(axis, arm)}


def clusters_virial_only(inputs: dict[str, Tensor], out: Outputs) -> Outputs:
    """The stress of sum F x, which forgets the pairs that cross the boundary."""
    products = -out["forces"][:, :, None] * inputs["positions"][:, None, :]
    total = torch.zeros_like(inputs["cell"]).index_add(0, inputs["system"], products)
    volume = torch.linalg.det(inputs["cell"]).abs()[:, None, None]
    return {**out, "stress": torch.where(volume > 0, (total + total.mT) / 2 / volume.clamp_min(1e-9), 0.0)}


def wrong_images(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Image shifts with the sign of another convention."""
    return {**inputs, "shifts": -inputs["shifts"]}


ROTATION = torch.as_tensor(haar_rotations(1, np.random.default_rng(3))[0])


class BackRotatedTheWrongWay(Potential):
    """Canonicalised to a frame and back, the way back with the transposed matrix."""

    def __call__(self, inputs: dict[str, Tensor]) -> Outputs:
        turned = {
            **inputs,
            "positions": inputs["positions"] @ ROTATION.T,
            "cell": inputs["cell"] @ ROTATION.T,
        }
        out = super().__call__(turned)
        return {
            **out,
            "forces": out["forces"] @ ROTATION.T,
            "stress": ROTATION.T @ out["stress"] @ ROTATION,
        }


class TurnedByATransposedWignerMatrix(Potential):
    """Moments of degree 2 in a frame of their own, brought back by D_2 in place of its transpose."""

    def node_energies(self, inputs: dict[str, Tensor], positions: Tensor, strain: Tensor) -> Tensor:
        node = super().node_energies(inputs, positions, strain)
        j, i = inputs["edges"]
        system = inputs["system"]
        x = positions + torch.einsum("na,nab->nb", positions, strain[system])
        cell = inputs["cell"] + inputs["cell"] @ strain
        v = x[i] - x[j] - torch.einsum("ea,eab->eb", inputs["shifts"], cell[system[i]])
        f = self.envelope(v.norm(dim=1))[:, None]
        harmonics = SphericalHarmonics({"lmax": 2}).double()
        there = torch.as_tensor(wigner_D(2, ROTATION.numpy()))
        none = torch.zeros(len(node), 5, dtype=torch.float64)
        turned = none.index_add(0, i, f * harmonics(v @ ROTATION.T)[:, 4:])
        back = turned @ there.T  # right: turned @ there
        return node + 1e-3 * (back * none.index_add(0, i, f**2 * harmonics(v)[:, 4:])).sum(1)


FORCES_WRONG = {"forces against differences"}
FAULTS: dict[str, tuple[Callable[[], Potential], set[str], set[str]]] = {
    # fault: model, items that must fail, items that may
    "transposed": (
        BackRotatedTheWrongWay,
        {"SO(3) equivariance, forces", "symmetric Jacobian"} | FORCES_WRONG,
        {"NVE energy drift", "NVE angular momentum"},
    ),
    "transposed Wigner matrix": (
        TurnedByATransposedWignerMatrix,
        set(SO3),
        {"NVE angular momentum", "lattice vectors"},
    ),
    "virial": (
        lambda: Changed(after=clusters_virial_only),
        {"stress against strain", "lattice vectors"},
        set(),
    ),
    "images": (
        lambda: Changed(before=wrong_images),
        {"lattice vectors"},
        {"size extensivity", "symmetric Jacobian", "stress against strain", "translation"} | FORCES_WRONG,
    ),
    "no envelope": (WithoutEnvelope, set(CUTOFF), {"NVE energy drift"}),
    "C1 envelope": (TooFewDerivatives, set(CUTOFF), {"symmetric Jacobian"}),
    "scaled forces": (lambda: Changed(after=scaled_forces), FORCES_WRONG, {"NVE energy drift"}),
    "curl": (
        lambda: Changed(after=curl_in_forces),
        {
            "symmetric Jacobian",
            "NVE energy drift",
            "NVE angular momentum",
            "SO(3) equivariance, forces",
            "lattice vectors",
            "size extensivity",
        }
        | FORCES_WRONG,
        {"inversion equivariance, forces", } | CUTOFF,
    ),
    "float32 sum": (
        Float32Sum,
        {"permutation", "size extensivity"} | FORCES_WRONG,
        SO3 | INVERSION | {"translation", "lattice vectors", "stress against strain", "NVE energy drift"}
        | CUTOFF,
    ),
    "anisotropy 1e-6": (AnisotropicByAMillionth, set(SO3), {"NVE angular momentum", "lattice vectors"}),
    "absolute places": (
        AbsolutePlaces,
        {"translation", "lattice vectors", "NVE momentum", "SO(3) equivariance, energy"},
        SO3 | INVERSION | {"size extensivity", "NVE angular momentum"} | CUTOFF,
    ),
    "per atom": (MeanOverAtoms, {"size extensivity"}, set()),
    "chiral": (Chiral, set(INVERSION), set()),
}  # fmt: skip


@lru_cache
def measured(fault: str) -> Certificate:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atoms_dynamics, "STEPS", 250)  # each of these faults shows sooner
        return certify(FAULTS[fault][0](), seed=1)


def test_the_potential_as_it_is_holds_everything() -> None:
    certificate = certify(Potential(), seed=1, thorough=True)
    assert certificate.ok
    statuses = {item.name: item.status for item in certificate.items}
    assert statuses.pop("parity with the reference") == "not applicable"
    assert set(statuses.values()) == {"holds"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails_where_it_should_and_nowhere_else(fault: str) -> None:
    _, must, may = FAULTS[fault]
    failed = {item.name for item in measured(fault).failures}
    assert must <= failed, f"not caught by {sorted(must - failed)}"
    assert (WORST in failed) >= bool(failed & SO3), "the worst rotation is worse than random ones"
    assert failed <= must | may | {WORST}, f"also failed: {sorted(failed - must - may)}"


def test_a_fault_in_float64_is_called_structural() -> None:
    for item in measured("scaled forces").failures:
        assert item.reason.startswith("structural")
        assert item.value == pytest.approx(1e-3, rel=1e-3)


def test_an_error_of_a_millionth_is_measured_at_its_size() -> None:
    item = measured("anisotropy 1e-6").item("SO(3) equivariance, forces", "float64")
    assert 1e-8 < item.value < 1e-5


def test_numbers_that_are_not_finite_fail_everywhere() -> None:
    broken = Changed(after=lambda _, out: {**out, "forces": out["forces"] * float("nan")})
    failed = {item.name for item in certify(broken, seed=1).failures}
    assert {"permutation", "translation", "SO(3) equivariance, forces", "size extensivity"} <= failed


class TwoBodies:
    """H = |p1|²/2 + |p2|²/2 - 1/sqrt(1 + |q1 - q2|²), with the face of an exported model."""

    def __init__(self, fault: str = "") -> None:
        self.plan = pairwise_plan()
        self.dtype = torch.float64
        self.fault = fault

    def hamiltonian(self, z: Tensor) -> Tensor:
        q, p = z.chunk(2, dim=-1)
        d = q[:, :2] - q[:, 2:]
        stretch = torch.tensor([1.001, 1.0]) if self.fault == "oval" else torch.ones(2)
        energy = 0.5 * (p**2).sum(1) - 1.0 / torch.sqrt(1.0 + (stretch * d**2).sum(1))
        if self.fault == "lopsided":
            energy = energy - 1e-6 * p[:, 0] ** 2
        return energy + 1e-4 * q[:, 0] if self.fault == "field" else energy

    def __call__(self, inputs: dict[str, Tensor]) -> Outputs:
        z = inputs["state"].detach().requires_grad_(True)
        with torch.enable_grad():
            energy = self.hamiltonian(z)
            (gradient,) = torch.autograd.grad(energy.sum(), z)
        velocity, force = gradient[:, 4:], -gradient[:, :4]
        if self.fault == "sign":
            force = -force
        if self.fault == "friction":
            force = force - 1e-3 * z.detach()[:, 4:]
        if self.fault == "magnetic":  # a force that leapfrog is not made for: it depends on the momenta
            force = force + 0.01 * velocity[:, [1, 0, 3, 2]] * torch.tensor([1.0, -1.0, 1.0, -1.0])
        if self.fault == "wrong H":
            energy = 1.01 * energy
        return {"derivatives": torch.cat([velocity, force], dim=1), "hamiltonian": energy.detach()}


ANGLE = "SO(2) equivariance, worst angle"
FLOW_FAULTS: dict[str, tuple[set[str], set[str]]] = {
    "sign": ({"field against H", "conserved energy"}, {"conserved angular momentum"}),
    "friction": (
        {"field against H", "symmetric Jacobian", "conserved momentum", "conserved angular momentum"}
        | {"conserved energy", "symplectic residual"},
        set(),
    ),
    "magnetic": (
        {"field against H", "symmetric Jacobian", "conserved momentum", "symplectic residual"},
        {"conserved energy", "conserved angular momentum"},
    ),
    "wrong H": ({"field against H"}, {"conserved energy"}),
    "oval": ({"SO(2) equivariance", ANGLE, "conserved angular momentum"}, set()),
    "lopsided": ({"SO(2) equivariance", ANGLE, "permutation"}, {"conserved angular momentum"}),
    "field": (
        {"translation", "permutation", "SO(2) equivariance", ANGLE, "conserved momentum"},
        {"conserved angular momentum"},
    ),
}


def test_two_bodies_as_they_are_hold_everything() -> None:
    certificate = certify(TwoBodies(), seed=1)
    statuses = {item.name: item.status for item in certificate.items}
    assert statuses.pop("parity with the reference") == "not applicable"
    assert set(statuses.values()) == {"holds"}
    assert len(statuses) == 10


@pytest.mark.parametrize("fault", FLOW_FAULTS)
def test_a_fault_in_a_flow_fails_where_it_should_and_nowhere_else(fault: str) -> None:
    must, may = FLOW_FAULTS[fault]
    failed = {item.name for item in certify(TwoBodies(fault), seed=1).failures}
    assert must <= failed, f"not caught by {sorted(must - failed)}"
    assert failed <= must | may, f"also failed: {sorted(failed - must - may)}"


# -- the same in a model that the package builds ---------------------------------------------------------------


def built() -> Model:
    """Of layers, which are damaged below: kernels hold tables of their own."""
    plan = mace_plan(channels=4, lmax=2, correlation=2, layers=1, widths=(8,), hidden_lmax=0)
    return build_module(plan, seed=1, dtype=torch.float64, kernels="reference")


def failed_symmetries(model: Model) -> set[str]:
    frames = random_frames(model.plan, np.random.default_rng(0), periodic=True)
    baseline = measure_baseline(Subject(model, "float64"), frames)
    rng = np.random.default_rng(1)
    items = [
        *symmetry_items(baseline, baseline, rng, 8, thorough=False),
        lattice_item(baseline, rng),
        *smoothness_items(baseline, rng),
        extensivity_item(baseline, rng),
    ]
    return {item.name for item in items if item.status == "fails"}


def test_one_coupling_coefficient_off_by_a_millionth_breaks_rotations_alone() -> None:
    model = built()
    assert failed_symmetries(model) == set()
    (coupling,) = [part for name, part in model.named_modules() if name.endswith("coupling")]
    entry = int(coupling.value.flatten().abs().argmax())
    coupling.value.view(-1)[entry] *= 1.0 + 1e-6
    assert failed_symmetries(model) == SO3 | {WORST}


def test_an_envelope_that_ends_behind_the_neighbour_list_is_a_jump() -> None:
    model = built()
    radial = model.plan.step("b").params
    model.layer("b").envelope = envelope_of(radial["envelope"], 1.1 * radial["cutoff"])
    assert failed_symmetries(model) == CUTOFF


def test_a_claim_of_more_derivatives_than_there_are_is_found_out() -> None:
    """The Bessel basis under its envelope ends as (1 - x)^4, and so is C3 whatever the envelope's power."""
    model = built()
    deficits = {}
    for claimed in (2, 3, 4, 5):
        plan = replace(model.plan, smoothness={"energy": claimed})
        twin = build_module(plan, seed=1, dtype=torch.float64)
        frames = random_frames(plan, np.random.default_rng(0), periodic=False)
        baseline = measure_baseline(Subject(twin, "float64"), frames)
        item = smoothness_items(baseline, np.random.default_rng(1))[1]
        deficits[claimed] = (item.status, item.value)
    assert [status for status, _ in deficits.values()] == ["holds", "holds", "fails", "fails"]
    assert deficits[4][1] == pytest.approx(1.0, abs=0.2)
    assert deficits[5][1] == pytest.approx(2.0, abs=0.2)
