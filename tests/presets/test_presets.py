"""Every preset for atoms: its levels are one graph, it keeps what it claims, and it learns."""

import json
import math

import numpy as np
import pytest
from ase.io import read, write
from equic.compiler.ir.text import render_graph
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.nodes import plain
from equic.compiler.language.presets import fill_preset, load_preset, preset_names
from equic.compiler.language.source import source_from_text
from equic.runtime.certify import certify
from equic.runtime.plan import Plan
from equic.runtime.training import train

# parameters small enough for seconds; `symmetry` where the architecture does not keep all of O(3)
SMALL = {
    "mace": {"channels": 4, "lmax": 2, "correlation": 2, "layers": 2, "radial": [8], "readout": [4]},
    "nequip": {"channels": 4, "lmax": 2, "parity": "both", "layers": 3, "radial": [8]},
    "schnet": {"channels": 8, "layers": 2, "gaussians": 12, "readout": [8]},
    "painn": {"channels": 6, "layers": 2, "bessel": 8, "readout": [8]},
    "egnn": {"channels": 8, "layers": 2, "readout": [8]},
    "hegnn_highdegree": {"channels": 8, "lmax": 2, "layers": 2, "readout": [8]},
    "allegro": {"channels": 4, "lmax": 1, "layers": 2, "latent": [16, 16], "readout": [16]},
    "nequip_allegro": {
        **{"channels": 4, "scalars": 16, "lmax": 1, "layers": 2, "embedding": 16},
        **{"start": [16], "latent": [16], "readout": [16]},
    },
    "segnn_steerable": {"channels": 6, "lmax": 1, "layers": 1, "bessel": 6, "readout": [8]},
    "deepmd_se_e2_a": {"embedding": [8, 16], "axis": 4, "fitting": [16, 16]},
    "facet": {
        "channels": 4,
        "lmax": 1,
        "layers": 2,
        "splines": 8,
        "degree": 12,
        "mixer": [8],
        "readout": [8],
    },
    "ace": {"channels": 4, "lmax": 2, "correlation": 2, "radial": 6},
    "equiformer": {
        **{"channels": 8, "lmax": 1, "layers": 1, "heads": 2, "hidden": 8, "alpha": 4, "values": 4},
        **{"forward": 8, "gaussians": 16, "radial": [16], "readout": [8]},
    },
    "pet": {
        **{"channels": 16, "node": 16, "layers": 1, "depth": 1, "heads": 2, "forward": 16},
        **{"readout": [16], "start": 0.5},
    },
}
SYMMETRY: dict[str, dict[str, object]] = {
    "equiformer": {"SO(3)": "hard"},
    "facet": {"O(3)": {"hard": {"within": 0.05}}},
    "pet": {"O(3)": "free"},
}
SETTINGS = {
    "ace": {"learning_rate": 0.05},
    "allegro": {"epochs": 8, "learning_rate": 0.01},
    "deepmd_se_e2_a": {"epochs": 12},
    "egnn": {"epochs": 8},
    "equiformer": {"epochs": 6, "learning_rate": 0.01},
    "facet": {"epochs": 8, "learning_rate": 0.03},
    "hegnn_highdegree": {"epochs": 8},
    "nequip_allegro": {"epochs": 8, "learning_rate": 0.01},
    "pet": {"epochs": 8, "batch": 2, "learning_rate": 0.02},
    "segnn_steerable": {"epochs": 8, "learning_rate": 0.03},
}
LEARNED = 0.75  # of the forces' own size is left after a few epochs
FOR_ATOMS = [name for name in preset_names() if load_preset(name).kind == "atoms"]


def section(name):
    return {"architecture": name, **SMALL[name]}


def test_every_preset_is_tested_here():
    assert set(SMALL) == set(FOR_ATOMS)


@pytest.mark.parametrize("name", SMALL)
def test_the_three_levels_are_one_graph(name, presets):
    first = presets.compiled(presets.spec_of(section(name), symmetry=SYMMETRY.get(name)))
    report = Report()
    source = source_from_text("{}", report=report)
    filled = fill_preset(load_preset(name), SMALL[name], frozenset({"joint"}), source, report)
    second = presets.compiled(presets.spec_of(plain(filled), symmetry=SYMMETRY.get(name)))
    assert second.plan["graph_hash"] == first.plan["graph_hash"]
    whole = json.loads(presets.spec_of(None, symmetry=SYMMETRY.get(name)))
    del whole["model"]
    text = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in whole.items())
    third = presets.compiled(f"{text}\n{render_graph(first.graph)}")
    assert third.plan["graph_hash"] == first.plan["graph_hash"]


@pytest.mark.parametrize("name", SMALL)
def test_a_preset_keeps_what_it_claims(name, presets, monkeypatch):
    # 600 steps of molecular dynamics cost ten times the rest, and follow from the forces, which are measured
    monkeypatch.setattr("equic.runtime.certify.measure.dynamics_items", lambda *_: [])
    model = presets.built(section(name), symmetry=SYMMETRY.get(name))
    certificate = certify(model, dtypes=["float64"], group_elements=3)
    assert certificate.ok, certificate.failures
    exact = {claim.factor for claim in model.plan.claims if claim.verdict == "exact"}
    for item in certificate.items:
        if item.name in exact:
            assert item.status == "holds"
            assert item.value < 1e-10, item


@pytest.fixture(scope="module")
def ethanol(presets, tmp_path_factory):
    """60 frames to learn from and 20 to be tested on, and the RMS of the forces of the latter."""
    frames = read(presets.data, index=":160:2")
    folder = tmp_path_factory.mktemp("ethanol")
    write(folder / "train.xyz", frames[:60])
    write(folder / "test.xyz", frames[60:])
    forces = np.concatenate([frame.get_forces() for frame in frames[60:]])
    return folder, math.sqrt(np.square(forces).mean())


@pytest.fixture(scope="module")
def alloys(presets, tmp_path_factory):
    """The like of alloys, all along one lattice: 40 frames to learn from, 8 to be tested on."""
    frames = [one for one in read(presets.data.with_name("periodic.xyz"), index="2:") if len(one) <= 16]
    folder = tmp_path_factory.mktemp("alloys")
    write(folder / "train.xyz", frames[:40])
    write(folder / "test.xyz", frames[40:48])
    forces = np.concatenate([frame.get_forces() for frame in frames[40:48]])
    return folder, math.sqrt(np.square(forces).mean())


def test_the_transformer_of_edges_learns_where_it_need_not_learn_rotations(presets, alloys, tmp_path):
    """Sixty molecules that turn are too few for it: after as many epochs nothing of their forces is learned."""
    folder, size = alloys
    labels = {name: {"key": name, "unit": unit} for name, unit in (("energy", "eV"), ("forces", "eV/Å"))}
    data = {
        "train": {"path": str(folder / "train.xyz"), "labels": labels},
        "test": {"path": str(folder / "test.xyz")},
        "isolated_atoms": {"Cu": 0.0, "Al": 0.0},
    }
    text = presets.spec_of(
        section("pet"),
        symmetry=SYMMETRY["pet"],
        system={"kind": "atoms", "species": ["Cu", "Al"], "cutoff": "3.2 Å"},
        data=data,
        train={"seed": 1, **SETTINGS["pet"]},
    )
    plan = Plan.from_json(presets.compiled(text).plan)
    result = train(plan, directory=tmp_path / "run", device="cpu", progress=False)
    assert result.metrics["test"]["forces"]["rmse"] < LEARNED * size


@pytest.mark.parametrize("name", [name for name in SMALL if name != "pet"])
def test_a_preset_learns(name, presets, ethanol, tmp_path):
    """Some epochs: the errors of forces never seen fall well below the forces themselves."""
    folder, size = ethanol
    labels = {name: {"key": name, "unit": unit} for name, unit in (("energy", "eV"), ("forces", "eV/Å"))}
    data = {
        "train": {"path": str(folder / "train.xyz"), "labels": labels},
        "test": {"path": str(folder / "test.xyz")},
        "isolated_atoms": {"H": -10.70721138, "C": -48.79807982, "O": -102.52180711},
    }
    settings = {"epochs": 4, "batch": 3, "learning_rate": 0.02, "seed": 1, **SETTINGS.get(name, {})}
    text = presets.spec_of(section(name), symmetry=SYMMETRY.get(name), cutoff=4.0, data=data, train=settings)
    plan = Plan.from_json(presets.compiled(text).plan)
    result = train(plan, directory=tmp_path / "run", device="cpu", progress=False)
    assert result.metrics["test"]["forces"]["rmse"] < LEARNED * size
