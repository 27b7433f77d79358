"""Certificates: their form, what counts as a verdict, and what real models measure."""

import json
import math
from dataclasses import replace
from functools import lru_cache
from io import StringIO

import numpy as np
import pytest
import torch
from equic.runtime.build import Model, build_module
from equic.runtime.certify import (
    Certificate,
    Item,
    atoms_dynamics,
    atoms_symmetry,
    certify,
    phase_conserved,
    phase_flow,
    render_certificate,
    verify_file,
)
from equic.runtime.certify.atoms_symmetry import symmetry_items
from equic.runtime.certify.baseline import measure_baseline
from equic.runtime.certify.frames import random_cells, random_frames
from equic.runtime.certify.geometry import Geometry, as_geometries
from equic.runtime.certify.judge import Rule, claim_rule, judge
from equic.runtime.certify.measure import tell_rounding_from_faults
from equic.runtime.certify.phase_symmetry import coordinates_of, on_both, rotation_matrix, swap_matrix
from equic.runtime.certify.rotations import haar_rotations, rotation_about
from equic.runtime.certify.stencil import NODES, derivative
from equic.runtime.certify.subject import Subject
from equic.runtime.errors import ArtifactError, EquicError
from equic.runtime.kernels import find_toolchain
from equic.runtime.testing.plans import hnn_plan, mace_plan, mlp_plan, pairwise_plan


def item(
    name: str, dtype: str, value: float | None, tolerance: float | None, status: str, reason: str = ""
) -> Item:
    return Item(name, dtype, value, tolerance, "relative", status, f"size of {name}", reason)  # type: ignore[arg-type]


PARITY = "parity with the reference"
EXAMPLE = Certificate(
    (
        item("permutation", "float64", 3e-16, 1e-10, "holds"),
        item("permutation", "float32", 2e-3, 1e-4, "fails"),
        item("SO(3) equivariance, forces", "float64", 0.31, None, "reported", "the spec holds SO(3) relaxed 0.3"),
        item("translation", "float64", float("nan"), 1e-10, "fails", "the model gave numbers that are not finite"),
        item("stress against strain", "float64", None, None, "not applicable", "the model has no stress"),
    ),
    {"name": "example", "seed": 0, "measured_on": "5 random frames", "device": "cpu"},
)  # fmt: skip


@pytest.fixture
def short_runs(monkeypatch) -> None:
    """A tenth of the steps, where a test is about something else than dynamics."""
    monkeypatch.setattr(atoms_dynamics, "STEPS", 100)
    monkeypatch.setattr(phase_flow, "ROLLOUT", 100)
    monkeypatch.setattr(phase_conserved, "ROLLOUT", 100)


@lru_cache
def small_model(dtype: torch.dtype = torch.float32, mode="hard") -> Model:
    model = build_module(
        mace_plan(channels=4, lmax=1, correlation=2, layers=1, widths=(8,), hidden_lmax=0, mode=mode),
        seed=1,
        dtype=dtype,
    )
    model.set_statistics({"average_neighbors": 6.0, "atomic_energies": [-13.6, -1030.0, -2040.0]})
    return model


@lru_cache
def small_certificate() -> Certificate:
    return certify(small_model(), seed=3)


def with_claims(model: Model, **changes) -> Model:
    """The same model under other claims on SO(3) and inversion."""
    claims = tuple(
        replace(claim, **changes) if claim.factor in ("SO(3)", "inversion") else claim
        for claim in model.plan.claims
    )
    twin = build_module(replace(model.plan, claims=claims), seed=1, dtype=model.dtype)
    twin.load_state_dict(model.state_dict())
    return twin


# -- the certificate itself ------------------------------------------------------------------------------------


def test_json_round_trip_through_text_keeps_everything() -> None:
    text = json.dumps(EXAMPLE.to_json(), allow_nan=False)
    back = Certificate.from_json(json.loads(text))
    assert back.meta == EXAMPLE.meta
    for ours, theirs in zip(EXAMPLE.items, back.items, strict=True):
        assert (ours == theirs) or (math.isnan(ours.value) and math.isnan(theirs.value))
    assert not back.ok
    assert json.loads(text)["ok"] is False


def test_ok_means_that_nothing_fails() -> None:
    fine = Certificate(tuple(entry for entry in EXAMPLE.items if entry.status != "fails"))
    assert fine.ok
    assert fine.failures == ()
    assert {entry.name for entry in EXAMPLE.failures} == {"permutation", "translation"}
    assert EXAMPLE.item("permutation", "float32").value == 2e-3
    with pytest.raises(KeyError, match="no item `permutation` in float16"):
        EXAMPLE.item("permutation", "float16")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version"),
        ({"items": [{"name": "permutation"}]}, "keys"),
        ({"items": [{**EXAMPLE.to_json()["items"][0], "status": "great"}]}, "unknown status `great`"),
    ],
)
def test_a_damaged_certificate_is_refused(change, message) -> None:
    with pytest.raises(ArtifactError, match=message):
        Certificate.from_json({**EXAMPLE.to_json(), **change})


def test_the_table_fits_100_columns_and_says_why() -> None:
    from rich.console import Console

    text = StringIO()
    render_certificate(EXAMPLE, Console(file=text, width=100))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    table = "\n".join(lines)
    assert "✓ 3.0e-16 ≤ 1e-10" in table
    assert "✗ 2.0e-03 > 1e-04" in table
    assert "· SO(3) equivariance, forces (float64): the spec holds SO(3) relaxed 0.3" in table
    assert "1 holds, 2 fails, 1 reported, 1 not applicable" in table


# -- verdicts --------------------------------------------------------------------------------------------------


def test_a_tolerance_is_met_or_not_and_nan_never_meets_it() -> None:
    rule = Rule(1e-6)
    statuses = [
        judge("x", "float64", value, rule, measure="").status for value in (0.0, 1e-6, 2e-6, math.nan)
    ]
    assert statuses == ["holds", "holds", "fails", "fails"]
    assert judge("x", "float64", 5.0, Rule(None, "free"), measure="").status == "reported"


def test_large_energies_widen_the_tolerance_and_say_so() -> None:
    entry = judge("x", "float64", 3e-10, Rule(1e-10), measure="", rounding=5e-10)
    assert (entry.status, entry.tolerance) == ("holds", 5e-10)
    assert "widened" in entry.reason


def test_claims_decide_what_is_demanded() -> None:
    plan = mace_plan()
    assert claim_rule(plan, "SO(3)", "float64").tolerance == 1e-10
    relaxed = mace_plan(mode=("relaxed", 0.3))
    assert claim_rule(relaxed, "SO(3)", "float64") == Rule(None, "the spec holds SO(3) relaxed 0.3")
    bounded = replace(plan, claims=(replace(plan.claims[0], within=1e-3, verdict="approximate"),))
    assert claim_rule(bounded, "SO(3)", "float32").tolerance == 1e-3
    assert claim_rule(bounded, "permutation", "float64").tolerance == 1e-10, "atoms imply it"
    assert claim_rule(bounded, "inversion", "float64").tolerance is None, "a factor not named is free"


def test_failures_are_told_apart_by_precision() -> None:
    items = [
        item("a", "float64", 1e-14, 1e-10, "holds"),
        item("b", "float64", 1e-3, 1e-10, "fails"),
        item("a", "float32", 2e-4, 1e-4, "fails"),
        item("b", "float32", 1e-3, 1e-4, "fails"),
        item("c", "float32", 1e-3, 1e-4, "fails"),
    ]
    reasons = {(entry.name, entry.dtype): entry.reason for entry in tell_rounding_from_faults(items)}
    assert reasons["a", "float64"] == ""
    assert reasons["a", "float32"].startswith("rounding: float64 holds at 1.0e-14")
    assert reasons["b", "float32"].startswith("structural: float64 is off by 1.0e-03")
    assert reasons["c", "float32"].startswith("not told apart")


# -- tools -----------------------------------------------------------------------------------------------------


def test_haar_rotations_are_rotations_and_evenly_spread() -> None:
    rotations = haar_rotations(4000, np.random.default_rng(0))
    unit = np.broadcast_to(np.eye(3), (4000, 3, 3))
    np.testing.assert_allclose(np.einsum("kab,kcb->kac", rotations, rotations), unit, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0)
    traces = np.trace(rotations, axis1=1, axis2=2)  # characters of l = 1: mean 0, mean square 1
    assert abs(traces.mean()) < 0.05
    assert abs((traces**2).mean() - 1.0) < 0.05
    np.testing.assert_allclose(
        rotation_about(np.array([0.0, 0.0, np.pi / 2])) @ [1, 0, 0], [0, 1, 0], atol=1e-15
    )


def test_the_stencil_is_exact_for_quartics() -> None:
    h = 0.1
    for power, expected in ((1, 1.0), (2, 0.0), (3, 0.0), (4, 0.0)):
        assert derivative((h * NODES) ** power, h) == pytest.approx(expected, abs=1e-14)
    assert derivative((h * NODES) ** 5, h) == pytest.approx(-4 * h**4)


def test_random_frames_keep_atoms_apart_and_use_every_species() -> None:
    plan = mace_plan()
    rng = np.random.default_rng(5)
    for frame in random_frames(plan, rng, periodic=True):
        images = (
            frame.cell.T @ np.stack(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1) if frame.periodic else 0
        )
        difference = frame.positions[:, None] - frame.positions[None]
        distances = (
            np.linalg.norm(difference[..., None] + images, axis=2)
            if frame.periodic
            else np.linalg.norm(difference, axis=2)
        )
        assert distances[distances > 1e-9].min() > 0.6
        assert set(frame.species) == {0, 1, 2}
    wide, narrow = random_cells(plan, rng)
    heights = [frame.volume ** (1 / 3) for frame in (wide, narrow)]
    assert heights[1] < plan.system["cutoff"] < heights[0]


def test_frames_of_unknown_elements_are_refused() -> None:
    from ase.build import molecule

    with pytest.raises(EquicError, match="frame 1 has the element N, which `mace example` does not know"):
        as_geometries([molecule("CH4"), molecule("NH3")], mace_plan())
    with pytest.raises(EquicError, match="no frames"):
        as_geometries([], mace_plan())


def test_rotations_of_phase_space_follow_each_frequency() -> None:
    plan = pairwise_plan()
    coordinates = coordinates_of(plan)
    quarter = rotation_matrix(coordinates, np.pi / 2)
    np.testing.assert_allclose(quarter @ [1, 0, 0, 2], [0, 1, -2, 0], atol=1e-15)
    state = np.arange(8.0)
    np.testing.assert_allclose(
        on_both(swap_matrix(coordinates, ["q1", "q2"]))(state), [2, 3, 0, 1, 6, 7, 4, 5]
    )
    system = {**plan.system, "coordinates": [{"name": "a", "rep": "1x2+1x0", "dim": 3}], "masses": None}
    twice = rotation_matrix(coordinates_of(replace(plan, system=system)), np.pi / 4)
    np.testing.assert_allclose(twice @ [1, 0, 5], [0, 1, 5], atol=1e-15)
    np.testing.assert_array_equal(swap_matrix(coordinates, []), np.eye(4))


# -- models ----------------------------------------------------------------------------------------------------


def test_a_model_of_atoms_holds_every_claim_in_both_dtypes() -> None:
    certificate = small_certificate()
    assert certificate.ok
    assert certificate.dtypes == ("float64", "float32")
    statuses = {entry.name: entry.status for entry in certificate.items if entry.dtype == "float64"}
    assert statuses.pop("parity with the reference") == ("holds" if find_toolchain() else "not applicable")
    assert set(statuses.values()) == {"holds"}
    for name in ("SO(3) equivariance, stress", "inversion equivariance, forces", "NVE energy drift"):
        assert name in statuses
    rotation = certificate.item("SO(3) equivariance, forces", "float64")
    assert rotation.value < 1e-12
    assert certificate.item("SO(3) equivariance, forces", "float32").value > 1e-9, "it was float32 that ran"


def test_the_same_seed_gives_the_same_certificate_and_moves_no_global_state(short_runs) -> None:
    model, before = build_module(mlp_plan(dim=2, hidden=(8,)), seed=2), torch.get_rng_state()
    assert certify(model, seed=3) == certify(model, seed=3)
    assert certify(model, seed=3) != certify(model, seed=4)
    assert torch.equal(before, torch.get_rng_state())
    assert all(parameter.requires_grad for parameter in model.parameters())
    frames = random_frames(small_model().plan, np.random.default_rng(0), periodic=True)
    first, second = (symmetries(small_model(), "float32", frames=frames) for _ in range(2))
    assert first == second


def symmetries(model: Model, dtype: str, *, frames=None, thorough: bool = False) -> dict[str, Item]:
    """The items of equivariance and invariance alone."""
    frames = frames or random_frames(model.plan, np.random.default_rng(0), periodic=True)
    baseline = measure_baseline(Subject(model, dtype), frames)
    return {
        entry.name: entry
        for entry in symmetry_items(baseline, baseline, np.random.default_rng(2), 4, thorough)
    }


def test_a_relaxed_symmetry_is_reported_and_the_others_hold(short_runs) -> None:
    certificate = certify(small_model(torch.float64, ("relaxed", 0.5)), dtypes=["float64"])
    assert certificate.ok
    entry = certificate.item("SO(3) equivariance, forces", "float64")
    assert entry.status == "reported"
    assert entry.value > 1e-3
    assert "relaxed 0.5" in entry.reason
    assert certificate.item("NVE angular momentum", "float64").status == "reported"
    assert certificate.item("forces against differences", "float64").status == "holds"


def test_a_false_claim_fails_and_within_moves_the_bar() -> None:
    broken = small_model(torch.float64, ("relaxed", 0.5))
    lying = symmetries(with_claims(broken, mode="hard", strength=None, demanded="exact"), "float64")
    assert {entry.status for name, entry in lying.items() if "equivariance" in name} == {"fails"}
    assert lying["permutation"].status == lying["translation"].status == "holds"
    lenient = symmetries(with_claims(broken, within=10.0), "float64")["SO(3) equivariance, forces"]
    assert (lenient.status, lenient.tolerance) == ("holds", 10.0)


def test_a_bound_below_float32_is_told_to_be_rounding() -> None:
    strict = with_claims(small_model(), within=1e-11)
    measured = [symmetries(strict, dtype)["SO(3) equivariance, forces"] for dtype in ("float64", "float32")]
    exact, rounded = tell_rounding_from_faults(measured)
    assert (exact.status, rounded.status) == ("holds", "fails")
    assert rounded.reason.startswith("rounding: float64 holds")


def test_the_search_for_the_worst_rotation_finds_more_than_chance() -> None:
    model = small_model(torch.float64, ("relaxed", 0.5))
    found = symmetries(model, "float64")
    name = "SO(3) equivariance, worst rotation"
    quick, thorough = found.pop(name), symmetries(model, "float64", thorough=True)[name]
    assert quick.value > max(entry.value for key, entry in found.items() if key.startswith("SO(3)"))
    assert "frames of 23 atoms" in quick.measure, "without the largest, which does not fit"
    assert "frames of 32 atoms" in thorough.measure


def test_an_ascent_climbs() -> None:
    """From the same rotations, the end of the ascent is above every start."""
    model = small_model(torch.float64, ("relaxed", 0.5))
    frames = random_frames(model.plan, np.random.default_rng(0), periodic=True)
    baseline = measure_baseline(Subject(model, "float64"), frames)
    starts = haar_rotations(4, np.random.default_rng(7))
    scores = atoms_symmetry._scores(baseline, starts)
    for start, score in zip(starts, scores, strict=True):
        assert atoms_symmetry._ascend(baseline, start, float(score)) > 1.02 * score


def test_large_frames_get_fewer_steps(monkeypatch) -> None:
    from ase.build import bulk

    model = build_module(
        mace_plan(channels=4, lmax=1, layers=1, species=("Cu",), widths=(8,)), dtype=torch.float64
    )
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.05, seed=0)
    baseline = measure_baseline(Subject(model, "float64"), as_geometries([crystal], model.plan))
    monkeypatch.setattr(atoms_dynamics, "STEPS", 60)
    monkeypatch.setattr(atoms_dynamics, "FEWEST_STEPS", 20)
    monkeypatch.setattr(atoms_dynamics, "_BYTES", 1)
    entry = atoms_dynamics.dynamics_items(baseline, np.random.default_rng(0))[0]
    assert entry.reason.startswith("20 steps of")
    assert "in place of 60" in entry.reason


def test_given_frames_are_used_without_isolated_atoms_and_one_is_enough(short_runs) -> None:
    from ase import Atoms
    from ase.build import molecule

    certificate = certify(small_model(torch.float64), frames=[molecule("CH3CH2OH"), Atoms("H"), Atoms("O")])
    assert certificate.ok
    assert certificate.dtypes == ("float64",)
    assert certificate.meta["measured_on"] == "1 given frame"
    assert "(one frame)" in certificate.item("SO(3) equivariance, energy", "float64").measure
    assert "in random cells" in certificate.item("stress against strain", "float64").measure
    assert certificate.item("SO(3) equivariance, stress", "float64").status == "holds"


def test_isolated_atoms_set_the_zero_of_the_energy_scale() -> None:
    """The scale does not see the isolated-atom energies, however large."""
    model = small_model(torch.float64)
    frames = random_frames(model.plan, np.random.default_rng(0), periodic=False)
    scale = measure_baseline(Subject(model, "float64"), frames).scales["energy"]
    other = build_module(model.plan, seed=1, dtype=torch.float64)
    other.set_statistics({"average_neighbors": 6.0, "atomic_energies": [0.0, 0.0, 0.0]})
    assert measure_baseline(Subject(other, "float64"), frames).scales["energy"] == pytest.approx(
        scale, rel=1e-9
    )


def test_a_perfect_crystal_is_shaken_before_it_is_measured(short_runs) -> None:
    from ase.build import bulk

    model = build_module(
        mace_plan(channels=4, lmax=1, layers=1, species=("Cu",), widths=(8,)), dtype=torch.float64
    )
    certificate = certify(model, frames=[bulk("Cu", cubic=True)])
    assert certificate.ok
    assert "forces cancel" in certificate.item("translation", "float64").measure
    assert certificate.item("forces against differences", "float64").tolerance == 1e-6, "not widened"


def test_frames_without_interactions_hold_nothing(short_runs) -> None:
    atom = Geometry(np.array([1]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, dtype=bool))
    certificate = certify(small_model(torch.float64), frames=[atom])
    assert certificate.ok
    holds = {entry.name for entry in certificate.items if entry.status == "holds"}
    assert holds - {PARITY} == {"lattice vectors", "stress against strain"}, (
        "these have random cells of their own"
    )
    assert "no binding energy" in certificate.item("permutation", "float64").reason


def test_what_may_be_asked_for() -> None:
    with pytest.raises(EquicError, match="at least 2 group elements"):
        certify(small_model(), group_elements=1)
    with pytest.raises(EquicError, match="not in `float16`"):
        certify(small_model(), dtypes=["float16"])
    with pytest.raises(EquicError, match=r"an array \[M, 2\]"):
        certify(build_module(hnn_plan(dim=2)), frames=np.zeros((3, 5)))


@pytest.mark.parametrize("separable", [True, False])
def test_a_hamiltonian_network_holds_what_it_promises(separable) -> None:
    model = build_module(hnn_plan(dim=2, separable=separable, hidden=(8,)), seed=2, dtype=torch.float64)
    certificate = certify(model, frames=np.random.default_rng(0).normal(size=(5, 2)))
    assert certificate.ok
    status = {entry.name: entry.status for entry in certificate.items}
    assert status["field against H"] == status["symmetric Jacobian"] == status["conserved energy"] == "holds"
    assert status["symplectic residual"] == ("holds" if separable else "reported")


def test_a_free_flow_has_nothing_to_hold() -> None:
    certificate = certify(build_module(mlp_plan(dim=2, hidden=(8,)), dtype=torch.float64))
    assert certificate.ok
    status = {entry.name: entry.status for entry in certificate.items}
    assert "holds" not in status.values()
    assert status["symmetric Jacobian"] == "reported"
    assert certificate.item("field against H", "float64").reason.startswith("no Hamiltonian")


def test_two_bodies_conserve_momentum_and_angular_momentum() -> None:
    certificate = certify(build_module(pairwise_plan(hidden=(8,)), seed=1), dtypes=["float32"])
    assert certificate.ok
    names = {entry.name for entry in certificate.items if entry.status == "holds"}
    assert {"SO(2) equivariance", "translation", "permutation", "conserved momentum"} <= names
    assert {"conserved angular momentum", "conserved energy", "symplectic residual"} <= names


# -- files -----------------------------------------------------------------------------------------------------


def test_an_artifact_is_verified_from_its_file(short_runs, tmp_path) -> None:
    from equic.runtime.artifact import save_artifact

    model = build_module(hnn_plan(dim=2, hidden=(8,)), seed=2)
    path = save_artifact(tmp_path / "pendulum.equic", model, spec_text="equic: 1\n")
    certificate = verify_file(path)
    assert certificate.dtypes == ("float64", "float32")
    assert certificate.ok
    with pytest.raises(EquicError, match=r"ends in \.equic or \.pt2"):
        verify_file(tmp_path / "pendulum.onnx")
