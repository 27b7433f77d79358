"""Which atoms see each other: the nearest within the cutoff, and all of a molecule, against their definitions."""

import itertools
import re

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from equic.compiler.cost import default_sizes
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.build import build_module
from equic.runtime.calculators import EquicCalculator
from equic.runtime.calculators.torch_sim import BatchedForward
from equic.runtime.certify import certify
from equic.runtime.data.frame import frame_from_atoms
from equic.runtime.errors import DataError, EquicError
from equic.runtime.neighbors import VerletList, model_inputs
from equic.runtime.neighbors.pairs import edges_of
from equic.runtime.plan import Plan
from scipy.spatial.transform import Rotation

SPEC = """\
equic: 1
name: sets
system: {{kind: atoms, species: [H, C, O], {edges}}}
symmetry: {{O(3): hard}}
targets: {{energy: {{per: system, rep: 0e, unit: eV}}, forces: {{gradient_of: energy, wrt: positions,
  scale: -1}}{more}}}
model: {{architecture: mace, channels: 4, lmax: 1, hidden_lmax: 1, correlation: 2, layers: 2, radial: [8]}}
"""
STRESS = ", stress: {gradient_of: energy, wrt: strain}"
NEAREST = SPEC.format(edges="cutoff: 4.0 Å, interactions: {nearest: 5}", more=STRESS)
ALL = SPEC.format(edges="interactions: all", more="")


def compiled(text):
    report = Report()
    done = compile_spec(source_from_text(text, report=report), report, debug=True)
    report.raise_if_errors()
    return done, report


def model_of(text):
    model = build_module(Plan.from_json(compiled(text)[0].plan), seed=3, dtype=torch.float64)
    known = {
        "average_neighbors": 4.5,
        "scale": 1.7,
        "shift": 0.3,
        "edge_length_scale": [1.4],
        "edge_length_shift": [2.1],
    }
    model.set_statistics({name: known[name] for name in model.plan.statistics if name in known})
    return model


def crystal(seed, atoms=6, side=4.2):
    rng = np.random.default_rng(seed)
    cell = side * (np.eye(3) + 0.2 * rng.uniform(-1, 1, (3, 3)))
    grid = np.array(list(itertools.product(range(2), repeat=3)))[:atoms] / 2
    places = (grid + rng.uniform(-0.1, 0.1, (atoms, 3))) @ cell
    return Atoms(rng.permutation((["H", "C", "O"] * atoms)[:atoms]), places, cell=cell, pbc=True)


def by_hand(atoms, cutoff, count, far=3):
    """The definition, one atom after another: by length, then source, then image."""
    images = list(itertools.product(range(-far, far + 1), repeat=3)) if atoms.pbc.any() else [(0, 0, 0)]
    found = set()
    for i, here in enumerate(atoms.positions):
        seen = []
        for j, there in enumerate(atoms.positions):
            for image in images:
                length = np.linalg.norm(here - there - np.array(image) @ atoms.cell.array)
                if 1e-6 < length < cutoff:
                    seen.append((round(length, 8), j, image))
        found |= {(j, i, image) for _, j, image in sorted(seen)[:count]}
    return found


def as_set(edges, shifts):
    return {(int(j), int(i), tuple(map(int, s))) for j, i, s in zip(*edges, shifts, strict=True)}


# ---------------------------------------------------------------------------------------------------- edges


@pytest.mark.parametrize("count", [1, 5, 12, 500])
@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_within_the_cutoff_with_images(seed, count):
    atoms = crystal(seed, side=(2.4, 4.2, 5.0)[seed])
    edges, shifts = edges_of({"pairs": count, "cutoff": 4.0}, atoms.positions, atoms.cell.array, atoms.pbc)
    assert as_set(edges, shifts) == by_hand(atoms, 4.0, count)
    assert edges.shape[1] == len(as_set(edges, shifts))
    assert (np.diff(edges[1]) >= 0).all()
    assert np.bincount(edges[1], minlength=len(atoms)).max() <= count


def test_the_nearest_of_a_molecule_end_at_the_cutoff_too():
    atoms = molecule("CH3CH2OH")
    for cutoff in (0.5, 1.2, 2.0):
        edges, shifts = edges_of({"pairs": 3, "cutoff": cutoff}, atoms.positions, np.zeros((3, 3)), False)
        assert as_set(edges, shifts) == by_hand(atoms, cutoff, 3)


def test_rounding_does_not_choose_among_equal_lengths():
    """Of the six second neighbours of bcc four are among the nearest 12: the same ones however it is turned."""
    atoms = bulk("Fe", "bcc", a=2.87, cubic=True).repeat((2, 2, 2))
    system = {"pairs": 12, "cutoff": 4.0}
    before = edges_of(system, atoms.positions, atoms.cell.array, True)
    assert as_set(*before) == by_hand(atoms, 4.0, 12, far=1)
    for seed in range(4):
        turn = Rotation.random(random_state=seed).as_matrix()
        after = edges_of(system, atoms.positions @ turn + 0.1 * seed, atoms.cell.array @ turn, True)
        assert as_set(*after) == as_set(*before)


def test_a_list_that_lasts_keeps_the_nearest_of_every_step():
    atoms, rng = crystal(1), np.random.default_rng(0)
    verlet, changed = VerletList(4.0, 0.6, 5), set()
    for _ in range(60):
        edges, shifts = verlet.update(atoms.positions, atoms.cell.array, atoms.pbc, atoms.numbers)
        fresh = edges_of({"pairs": 5, "cutoff": 4.0}, atoms.positions, atoms.cell.array, atoms.pbc)
        assert np.array_equal(edges, fresh[0])
        assert np.array_equal(shifts, fresh[1])
        changed.add((verlet.searches, edges.tobytes()))
        atoms.positions += rng.normal(size=atoms.positions.shape) * 0.03
    assert 1 < verlet.searches < len(changed)  # the nearest change between searches


def test_all_of_a_crystal_is_refused_where_data_are_read():
    plan = Plan.from_json(compiled(ALL)[0].plan)
    assert frame_from_atoms(molecule("H2O"), plan, source="x").edges.shape == (2, 6)
    with pytest.raises(DataError, match=r"train.xyz:frame 3: all atoms see each other.*no end") as caught:
        frame_from_atoms(crystal(0), plan, source="train.xyz:frame 3")
    assert "cutoff" in caught.value.help


# ----------------------------------------------------------------------------------------------- the type


def test_types_of_index_sets():
    within = compiled(NEAREST.replace(", interactions: {nearest: 5}", ""))[0].plan
    nearest, report = compiled(NEAREST)
    everything, quiet = compiled(ALL)
    assert within["smoothness"]["energy"] >= 1
    assert nearest.plan["smoothness"]["energy"] == -1
    assert nearest.plan["locality"]["energy"] == within["locality"]["energy"] == 8.0
    assert nearest.plan["system"]["pairs"] == 5
    assert nearest.plan["system"]["cutoff"] == 4.0
    assert everything.plan["smoothness"]["energy"] is None  # analytic
    assert everything.plan["locality"]["energy"] is None  # everything
    assert everything.plan["system"]["pairs"] == "all"
    assert [str(one.code) for one in report.diagnostics] == ["P421", "P421"]
    assert not quiet.diagnostics
    assert default_sizes(nearest.context.scope).neighbors == 5


# ------------------------------------------------------------------------------------------------ behaviour


@pytest.mark.parametrize("text", [NEAREST, ALL], ids=["nearest", "all"])
def test_the_certificate_holds_what_is_claimed(text):
    small = re.sub("architecture: mace.*}", "architecture: schnet, channels: 8, layers: 1}", text)
    found = certify(model_of(small), dtypes=["float64"], seed=1)
    items = {item.name: item for item in found.items}
    assert not [item for item in found.items if item.status == "fails"]
    assert items["NVE energy drift"].status == ("reported" if text is NEAREST else "holds")
    assert items["smoothness at the cutoff"].status == "not applicable"
    assert items["size extensivity"].status == ("holds" if text is NEAREST else "not applicable")


def test_energies_of_the_calculator_are_those_of_fresh_lists():
    model, atoms, rng = model_of(NEAREST), crystal(2), np.random.default_rng(1)
    atoms.calc = EquicCalculator(model, device="cpu", skin=1.0)
    for _ in range(12):
        expected = model.forward(model_inputs([atoms], model.plan))
        assert atoms.get_potential_energy() == pytest.approx(float(expected["energy"]), abs=1e-10)
        assert np.allclose(atoms.get_forces(), expected["forces"].detach().numpy(), atol=1e-10)
        atoms.positions += rng.normal(size=atoms.positions.shape) * 0.05
    assert atoms.calc.neighbors.searches < 12


def test_the_energy_jumps_where_two_neighbours_change_places():
    """O leaves the nearest five of C as another comes closer: forces stay derivatives on either side of the jump."""
    plan = model_of(NEAREST.replace("nearest: 5", "nearest: 1"))

    def energy(x):
        atoms = Atoms("CHO", [[0, 0, 0], [-1.5, 0, 0], [x, 0, 0]])
        return float(plan.forward(model_inputs([atoms], plan.plan))["energy"])

    assert abs(energy(1.5 + 1e-6) - energy(1.5 - 1e-6)) > 1e-4
    assert abs(energy(1.6 + 1e-6) - energy(1.6 - 1e-6)) < 1e-4


def test_calculators_of_all_pairs_refuse_crystals():
    model = model_of(ALL)
    atoms = molecule("CH3OH")
    atoms.calc = EquicCalculator(model, device="cpu")
    expected = model.forward(model_inputs([atoms], model.plan))
    assert atoms.get_potential_energy() == pytest.approx(float(expected["energy"]), abs=1e-10)
    solid = crystal(0)
    solid.calc = EquicCalculator(model, device="cpu")
    with pytest.raises(EquicError, match="no end"):
        solid.get_potential_energy()


def test_torch_sim_reads_the_edges_of_the_plan():
    model, atoms = model_of(NEAREST), crystal(0)
    batched = BatchedForward(model, device="cpu")
    found = batched(
        torch.tensor(atoms.positions),
        torch.tensor(atoms.cell.array)[None],
        torch.tensor([True] * 3),
        torch.tensor(atoms.numbers),
        torch.zeros(len(atoms), dtype=torch.int64),
    )
    expected = model.forward(model_inputs([atoms], model.plan))
    assert torch.allclose(found["energy"], expected["energy"].detach(), atol=1e-10)
