"""Artifacts of earlier versions load and give the numbers that were recorded when they were written."""

import json
from pathlib import Path

import pytest
from equic.runtime.artifact import load_artifact, read_manifest
from equic.runtime.certify import parity_item
from equic.runtime.container import parse_json, read_container
from equic.runtime.errors import ArtifactError
from equic.runtime.export.trace import recast
from equic.runtime.migrations import MIGRATIONS, PLAN_VERSION, migrate_plan
from equic.runtime.plan import Plan

FOLDER = Path(__file__).parent / "old_artifacts"
OLD = sorted(FOLDER.glob("*.equic"))


def plan_of(path: Path) -> dict:
    return parse_json(path, "plan.json", read_container(path)[1]["plan.json"])


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_an_old_artifact_gives_its_old_numbers(path: Path) -> None:
    import torch

    found = load_artifact(path)
    assert found.plan.version == PLAN_VERSION
    item = parity_item(recast(found.model, torch.float64), json.loads(path.with_suffix(".json").read_text()))
    assert item.value is not None
    assert item.value < 1e-12
    assert load_artifact(path).plan == Plan.from_json(found.plan.to_json())


def test_there_is_an_artifact_of_every_old_version() -> None:
    versions = {plan_of(path)["version"] for path in OLD}
    assert versions >= set(MIGRATIONS)
    assert set(MIGRATIONS) == set(range(1, PLAN_VERSION))


def test_version_1_says_nothing_of_forms_and_version_2_does() -> None:
    old = plan_of(FOLDER / "v1_potential.equic")
    assert "form" not in old["outputs"]["stress"]
    new = migrate_plan(old)
    assert new["version"] == PLAN_VERSION
    forms = {name: (output["form"], output["extensive"]) for name, output in new["outputs"].items()}
    assert forms.pop("node_energy") == ("irreps", False)
    assert forms == {"energy": ("irreps", True), "forces": ("irreps", False), "stress": ("cartesian", False)}
    assert old["version"] == 1, "the old plan is as it was"


def test_version_2_knows_atoms_within_a_cutoff_alone() -> None:
    new = migrate_plan(plan_of(FOLDER / "v2_response.equic"))
    assert {name: new["system"][name] for name in ("pairs", "unit", "inputs")} == {
        "pairs": "within",
        "unit": "Å",
        "inputs": [],
    }
    assert "pairs" not in migrate_plan(plan_of(FOLDER / "v1_flow.equic"))["system"]


def test_version_3_tabulates_nothing() -> None:
    new = migrate_plan(plan_of(FOLDER / "v3_potential.equic"))
    assert new["deploy"] == {"tabulate": None, "radial": []}


@pytest.mark.parametrize("change", [{"outputs": 3}, {"steps": [{}]}, {"outputs": {"energy": {"step": "x"}}}])
def test_a_damaged_old_plan_is_refused(change: dict) -> None:
    with pytest.raises(ArtifactError):
        Plan.from_json({**plan_of(FOLDER / "v1_potential.equic"), **change})


@pytest.mark.parametrize("version", [0, PLAN_VERSION + 1, None, "1", [1]])
def test_an_unknown_version_is_named(version: object) -> None:
    with pytest.raises(ArtifactError, match="version"):
        Plan.from_json({**plan_of(FOLDER / "v1_potential.equic"), "version": version})


def test_layers_may_rename_and_add_tables_but_not_change_one() -> None:
    from equic.runtime import artifact

    manifest = read_manifest(FOLDER / "v1_potential.equic")
    model = load_artifact(FOLDER / "v1_potential.equic").model
    renamed = {f"{name}.other": value for name, value in manifest["constants"].items()}
    artifact._check_constants(Path("x"), model, manifest | {"constants": renamed})
    name = next(iter(renamed))
    wrong = renamed | {name: [x + 1e-3 for x in renamed[name]]}
    with pytest.raises(ArtifactError, match="not those that the weights were trained with"):
        artifact._check_constants(Path("x"), model, manifest | {"constants": wrong})


def test_kernels_may_come_and_go() -> None:
    """A file written where kernels were built loads where they are not, or are laid out otherwise."""
    from equic.runtime import artifact

    manifest = read_manifest(FOLDER / "v1_potential.equic")
    model = load_artifact(FOLDER / "v1_potential.equic").model
    constants = manifest["constants"] | {"kernels.layer1__power.table.value": [1.5, 0.2, -0.7]}
    artifact._check_constants(Path("x"), model, manifest | {"constants": constants})
    assert not [name for name in artifact.constant_fingerprints(model) if name.startswith("kernels.")]
