"""Particles, and what is known of points: read, learned, measured, and held against their own definitions."""

import ase.io
import numpy as np
import pytest
import torch
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.artifact import load_artifact
from equic.runtime.build import build_module
from equic.runtime.calculators import EquicCalculator
from equic.runtime.certify import certify
from equic.runtime.data import collate, load_sets
from equic.runtime.data.frame import frame_from_atoms
from equic.runtime.data.points import read_points
from equic.runtime.errors import DataError
from equic.runtime.neighbors.pairs import edges_of
from equic.runtime.plan import Plan
from equic.runtime.predict import predict, write_points
from equic.runtime.testing.equivariance import equivariance_error
from equic.runtime.training import train

PARTICLES = """\
equic: 1
name: particles
system:
  kind: particles
  inputs: {{velocity: {{per: node, rep: 1o}}, charge: {{per: node, rep: 0e}}, wind: {{per: system, rep: 1o}}}}
  interactions: {pairs}
symmetry: {{O(3): hard}}
targets: {{displacement: {{per: node, rep: 1o}}, energy: {{per: system, rep: 0e}}, forces: {{gradient_of: energy,
  wrt: positions, scale: -1}}, polarization: {{gradient_of: energy, wrt: wind, scale: -1}}}}
model: {{architecture: mace, channels: 4, lmax: 1, hidden_lmax: 1, correlation: 2, layers: 2, radial: [8]}}
"""


def plan_of(text: str) -> Plan:
    report = Report()
    done = compile_spec(source_from_text(text, report=report), report, debug=True)
    report.raise_if_errors()
    assert done.plan is not None
    return Plan.from_json(done.plan)


def model_of(pairs: str):
    model = build_module(plan_of(PARTICLES.format(pairs=pairs)), seed=3, dtype=torch.float64)
    names = model.plan.statistics
    model.set_statistics({"average_neighbors": 4.0} if "average_neighbors" in names else {})
    return model


def arrays(systems: int, particles: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {
        name: rng.normal(size=(systems, particles, 3)) for name in ("positions", "velocity", "displacement")
    }
    found["charge"], found["wind"] = (
        rng.choice([-1.0, 1.0], size=(systems, particles)),
        rng.normal(size=(systems, 3)),
    )
    found["energy"] = rng.normal(size=systems)
    return found


# ---------------------------------------------------------------------------------------------------- edges


@pytest.mark.parametrize(("pairs", "count"), [("all", 6 * 5), (2, 12), (9, 30)])
def test_edges_of_all_and_of_the_nearest(pairs, count):
    x = np.random.default_rng(0).normal(size=(6, 3))
    edges, shifts = edges_of({"pairs": pairs, "cutoff": None}, x, np.zeros((3, 3)), False)
    assert edges.shape == (2, count)
    assert not shifts.any()
    assert (np.diff(edges[1]) >= 0).all()
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1)
    for i in range(6):
        mine = edges[0][edges[1] == i]
        others = sorted((k for k in range(6) if k != i), key=lambda k: distance[i, k])
        assert sorted(mine) == sorted(others[: len(mine)])


def test_two_particles_in_one_place_are_refused():
    x = np.array([[0.0, 0, 0], [1.0, 0, 0], [0.0, 0, 0]])
    with pytest.raises(DataError, match="nodes 0 and 2"):
        edges_of({"pairs": "all", "cutoff": None}, x, np.zeros((3, 3)), False, where="here")


def test_one_particle_has_no_edges():
    edges, _ = edges_of({"pairs": 3, "cutoff": None}, np.zeros((1, 3)), np.zeros((3, 3)), False)
    assert edges.shape == (2, 0)


# ------------------------------------------------------------------------------------------------ certificate


@pytest.mark.parametrize("pairs", ["all", "{within: 3.0}", "{nearest: 3}"])
def test_the_certificate_of_particles(pairs):
    model = model_of(pairs)
    certificate = certify(model, seed=1)
    assert certificate.ok, certificate.failures
    status = {item.name: item.status for item in certificate.items}
    held = (
        "SO(3) equivariance, displacement",
        "inversion equivariance, forces",
        "permutation",
        "translation",
    )
    assert all(status[name] == "holds" for name in held)
    assert status["forces against differences"] == "holds"
    assert status["polarization against differences"] == "holds"
    assert status["NVE energy drift"] == "not applicable"
    assert status["lattice vectors"] == "not applicable"
    ends = pairs.startswith("{within")
    assert status["smoothness at the cutoff"] == ("holds" if ends else "not applicable")
    assert status["size extensivity"] == ("holds" if ends else "not applicable")
    smooth = model.plan.smoothness["displacement"]
    assert smooth == {"all": None, "{within: 3.0}": 3, "{nearest: 3}": -1}[pairs]


class Faulty:
    """A model whose inputs or outputs are spoiled."""

    def __init__(self, model, before=lambda x: x, after=lambda x, y: y):
        self.plan, self.dtype, self.model, self.before, self.after = (
            model.plan,
            model.dtype,
            model,
            before,
            after,
        )

    def __call__(self, inputs):
        return self.after(inputs, self.model(self.before(inputs)))


FAULTS = {
    "velocity that does not turn": (
        lambda x: {**x, "velocity": x["velocity"] * torch.tensor([1.0, 1.0, 1.0001])},
        None,
        "SO(3) equivariance, displacement",
    ),
    "axial velocity": (
        lambda x: {**x, "velocity": x["velocity"].abs()},
        None,
        "inversion equivariance, displacement",
    ),
    "absolute positions": (
        None,
        lambda x, y: {**y, "displacement": y["displacement"] + 1e-6 * x["positions"]},
        "translation",
    ),
    "charges by place in the file": (
        lambda x: {**x, "charge": x["charge"] * torch.arange(len(x["charge"]))[:, None]},
        None,
        "permutation",
    ),
    "polarization off by a thousandth": (
        None,
        lambda x, y: {**y, "polarization": 1.001 * y["polarization"]},
        "polarization against differences",
    ),
    "everybody sees everybody": (
        None,
        lambda x, y: {**y, "displacement": y["displacement"] * (1 + 1e-3 * len(x["positions"]))},
        "size extensivity",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name):
    before, after, item = FAULTS[name]
    model = Faulty(model_of("{within: 3.0}"), before or (lambda x: x), after or (lambda x, y: y))
    assert item in {one.name for one in certify(model, seed=1).failures}


def test_inputs_matter():
    model = model_of("all")
    frames = _frames(model.plan, arrays(2, 5))
    inputs, _ = collate(frames)
    plain = model(inputs)
    for name in ("velocity", "charge", "wind"):
        other = model({**inputs, name: inputs[name] * 1.5 + 0.1})
        assert (other["displacement"] - plain["displacement"]).abs().max() > 1e-6


def _frames(plan, data, tmp="x"):
    from equic.runtime.data.points import points_frame

    count = len(data["positions"])
    return [
        points_frame(plan, {key: value[k] for key, value in data.items()}, source=f"{tmp}:frame {k}")
        for k in range(count)
    ]


# ------------------------------------------------------------------------------------------------------- data


def with_data(path, pairs="all", names=("displacement",)) -> str:
    labels = ", ".join(f"{name}: {{key: {name}}}" for name in names)
    return (
        PARTICLES.format(pairs=pairs)
        + f"data: {{train: {{path: {path}, labels: {{{labels}}}}}, validation: 4}}\n"
    )


def test_systems_of_different_sizes_stand_one_after_another(tmp_path):
    parts = [arrays(1, n, seed=n) for n in (3, 5, 4)]
    per_node = ("positions", "velocity", "charge", "displacement")
    joined = {name: np.concatenate([part[name][0] for part in parts]) for name in per_node}
    joined |= {name: np.concatenate([part[name] for part in parts]) for name in ("wind", "energy")}
    np.savez(tmp_path / "ragged.npz", counts=np.array([3, 5, 4]), **joined)
    labels = {name: {"key": name, "factor": 2.0} for name in ("displacement", "energy")}
    plan = plan_of(PARTICLES.format(pairs="all"))
    frames = read_points(plan, {"path": tmp_path / "ragged.npz", "labels": labels})
    assert [len(frame) for frame in frames] == [3, 5, 4]
    for frame, part in zip(frames, parts, strict=True):
        np.testing.assert_allclose(frame.positions, part["positions"][0])
        np.testing.assert_allclose(frame.inputs["velocity"], part["velocity"][0])
        np.testing.assert_allclose(frame.inputs["charge"], part["charge"][0][:, None])
        np.testing.assert_allclose(frame.inputs["wind"], part["wind"])
        np.testing.assert_allclose(frame.labels["displacement"], 2.0 * part["displacement"][0])
        assert float(frame.labels["energy"]) == pytest.approx(2.0 * part["energy"][0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"velocity": None}, "has no `velocity`"),
        ({"charge": np.zeros((7, 5))}, "expected [8, ...]"),
        ({"charge": np.full((8, 5), np.nan)}, "not finite"),
        ({"positions": np.zeros((8, 5, 2))}, "expected [systems, particles, 3]"),
        ({"positions": np.zeros((8, 5, 3))}, "in the same place"),
        ({"wind": np.zeros((8, 4))}, "expected [3]"),
        ({"displacement": np.zeros((8, 5, 2))}, "expected [5, 3]"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, change, message):
    data = {key: value for key, value in {**arrays(8, 5), **change}.items() if value is not None}
    np.savez(tmp_path / "bad.npz", **data)
    with pytest.raises(DataError) as error:
        load_sets(plan_of(with_data(tmp_path / "bad.npz")))
    assert message in str(error.value)


def test_types_are_told_apart(tmp_path):
    data = {**arrays(6, 4), "types": np.array([0, 1, 1, 0])}
    np.savez(tmp_path / "two.npz", **data)
    text = with_data(tmp_path / "two.npz").replace(
        "interactions: all", "interactions: all\n  types: [big, small]"
    )
    plan = plan_of(text)
    frames = load_sets(plan)["train"]
    assert frames[0].species.tolist() == [0, 1, 1, 0]
    model = build_module(plan, seed=1, dtype=torch.float64)
    inputs, _ = collate(list(frames))
    other = model({**inputs, "species": 1 - inputs["species"]})
    assert (other["displacement"] - model(inputs)["displacement"]).abs().max() > 1e-6


def test_particles_learn_and_are_predicted(tmp_path):
    data = arrays(60, 4)
    # what two bodies of opposite charge do, roughly: a rule that needs velocities, charges and places
    apart = data["positions"][:, :, None] - data["positions"][:, None]
    soft = (apart**2).sum(-1) + 1.0
    pull = np.einsum("si,sj,sij,sijk->sik", data["charge"], data["charge"], soft**-1.5, apart)
    data["displacement"] = data["velocity"] + pull
    np.savez(tmp_path / "bodies.npz", **data)
    small = with_data(tmp_path / "bodies.npz").replace("layers: 2", "layers: 1")
    text = small + "train: {epochs: 20, batch: 6, learning_rate: 0.02, ema: 0.9}\n"
    result = train(plan_of(text), directory=tmp_path / "run", device="cpu", progress=False)
    spread = float(np.sqrt(np.mean(data["displacement"] ** 2)))
    assert result.metrics["train"]["displacement"]["rmse"] < 0.8 * spread
    model = load_artifact(result.artifact, device="cpu").model
    frames = read_points(model.plan, {"path": tmp_path / "bodies.npz", "labels": {}})

    class Held:
        plan = model.plan

        def predict(self, frames, batch):
            return predict(model, list(frames), batch=batch, device="cpu")

    write_points(Held(), tmp_path / "bodies.npz", tmp_path / "out.npz", 16)
    with np.load(tmp_path / "out.npz") as written:
        assert written["displacement"].shape == (60, 4, 3)
        assert written["energy"].shape == (60,)
        again = predict(model, list(frames)[:1], device="cpu")[0]
        np.testing.assert_allclose(written["displacement"][0], again["displacement"], atol=1e-6)


# ------------------------------------------------------------------------------------------- inputs of atoms


FIELD = """\
equic: 1
name: field
system:
  kind: atoms
  species: [H, C, O]
  cutoff: 4.5 Å
  inputs: {field: {per: system, rep: 1o, unit: V/Å, key: electric_field}, strain_rate: {per: node, rep: 0e+2e}}
symmetry: {O(3): hard}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1}
  dipole: {gradient_of: energy, wrt: field, scale: -1, unit: e Å}
model: {architecture: mace, channels: 4, lmax: 2, hidden_lmax: 1, correlation: 2, layers: 1, radial: [8]}
"""


@pytest.fixture(scope="module")
def in_field():
    return build_module(plan_of(FIELD), seed=1, dtype=torch.float64)


def ethanol(k: int = 0):
    atoms = ase.io.read("examples/data/ethanol_field.xyz", k)
    rng = np.random.default_rng(k)
    matrices = rng.normal(size=(len(atoms), 3, 3))
    atoms.arrays["strain_rate"] = (matrices + matrices.transpose(0, 2, 1)).reshape(-1, 9)
    return atoms


def test_molecule_and_field_turn_together(in_field):
    atoms = ethanol()
    q, r = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    R = q * np.sign(np.diag(r))
    turned = atoms.copy()
    turned.positions = atoms.positions @ R.T
    turned.info["electric_field"] = R @ atoms.info["electric_field"]
    matrices = atoms.arrays["strain_rate"].reshape(-1, 3, 3)
    turned.arrays["strain_rate"] = (R @ matrices @ R.T).reshape(-1, 9)
    a, b = predict(in_field, [atoms, turned], device="cpu")
    assert float(a["energy"]) == pytest.approx(float(b["energy"]), abs=1e-10)
    np.testing.assert_allclose(b["dipole"], R @ a["dipole"], atol=1e-10)
    np.testing.assert_allclose(b["forces"], a["forces"] @ R.T, atol=1e-10)
    turned.info["electric_field"] = atoms.info["electric_field"]
    alone = predict(in_field, [turned], device="cpu")[0]
    assert abs(float(alone["energy"]) - float(a["energy"])) > 1e-6


def test_the_dipole_is_the_slope_of_the_energy_in_the_field(in_field):
    atoms, h, slopes = ethanol(), 1e-4, []
    for axis in np.eye(3):
        ends = []
        for sign in (1.0, -1.0):
            moved = atoms.copy()
            moved.info["electric_field"] = atoms.info["electric_field"] + sign * h * axis
            ends.append(float(predict(in_field, [moved], device="cpu")[0]["energy"]))
        slopes.append(-(ends[0] - ends[1]) / (2 * h))
    np.testing.assert_allclose(
        predict(in_field, [atoms], device="cpu")[0]["dipole"], slopes, rtol=1e-5, atol=1e-9
    )


def test_a_calculator_sees_the_field_and_its_changes(in_field):
    atoms = ethanol()
    atoms.calc = EquicCalculator(in_field, device="cpu")
    before = atoms.get_potential_energy()
    assert before == pytest.approx(float(predict(in_field, [atoms], device="cpu")[0]["energy"]), abs=1e-10)
    atoms.info["electric_field"] = 2.0 * atoms.info["electric_field"]
    assert abs(atoms.get_potential_energy() - before) > 1e-6
    del atoms.info["electric_field"]
    with pytest.raises(DataError, match="electric_field"):
        atoms.get_potential_energy()


def test_frames_in_different_fields_are_different_frames(in_field):
    a, b = ethanol(), ethanol()
    b.info["electric_field"] = -np.asarray(b.info["electric_field"])
    frames = [frame_from_atoms(one, in_field.plan, source=f"x:frame {k}") for k, one in enumerate((a, a, b))]
    assert frames[0].fingerprint() == frames[1].fingerprint()
    assert frames[0].fingerprint() != frames[2].fingerprint()


def test_prepared_frames_keep_their_inputs(in_field, tmp_path):
    from equic.runtime.data.prepared.shards import frame_at, map_shard, write_shard

    plan = in_field.plan
    frames = [frame_from_atoms(ethanol(k), plan, source=f"x:frame {k}") for k in range(3)]
    words = {"config": [], "group": []}
    facts = write_shard(tmp_path / "shard", frames, words, [0, 1, 2])
    place = np.zeros(120, dtype=np.int64)
    stored = map_shard(tmp_path / "shard", facts["files"])
    for k, frame in enumerate(frames):
        again = frame_at(stored, k, place, words, "x", frozenset())
        assert again.inputs.keys() == frame.inputs.keys()
        for name, value in frame.inputs.items():
            np.testing.assert_array_equal(again.inputs[name], value)


def test_spread_and_normalize_are_what_they_say():
    from equic.runtime.layers.normalize import Normalize, Spread

    x = torch.randn(2, 5, dtype=torch.float64)
    scale, shift = torch.tensor([2.0, 4.0]).double(), torch.tensor([1.0, -1.0]).double()
    found = Normalize({"name": "a", "irreps": "2x0e+1x1o"})(x, scale, shift)
    expected = torch.cat([(x[:, :2] - shift) / 2.0, x[:, 2:] / 4.0], dim=1)
    torch.testing.assert_close(found, expected.to(found.dtype))
    nodes = Spread({})(x, torch.tensor([1, 1, 0]))
    torch.testing.assert_close(nodes, x[[1, 1, 0]])
    module = Normalize({"name": "a", "irreps": "1x1o"})
    wrong = lambda x: module(x, scale[:1]) * torch.tensor([1.0, 1.0, 1.1])  # noqa: E731
    R = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    assert equivariance_error(wrong, [x[:, :3]], ["1x1o"], "1x1o", R * torch.linalg.det(R)) > 1e-3
