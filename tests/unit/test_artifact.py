"""Artifacts: whole round trips, deterministic bytes, and every way a file can be wrong."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from equic.runtime import container
from equic.runtime.artifact import (
    constant_fingerprints,
    load_artifact,
    read_manifest,
    save_artifact,
    update_certificate,
)
from equic.runtime.build import Model, build_module
from equic.runtime.errors import ArtifactError
from equic.runtime.testing.plans import hnn_plan, mace_plan

SPEC = "equic: 1\nname: hnn example\n"
CERTIFICATE = {"items": [{"name": "energy drift", "value": 1e-9, "status": "holds"}]}


@pytest.fixture
def model() -> Model:
    return build_module(hnn_plan(), seed=3, dtype=torch.float32)


@pytest.fixture
def saved(tmp_path: Path, model: Model) -> Path:
    return save_artifact(
        tmp_path / "a.equic", model, spec_text=SPEC, certificate=CERTIFICATE, training={"seconds": 1.5}
    )


def same_model(a: Model, b: Model) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)


def repack(path: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """Rewrite an artifact with changed entries; its hashes are left as they are."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def edit_manifest(path: Path, **changes: object) -> Path:
    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"]) | changes
        entries["manifest.json"] = json.dumps(manifest).encode()

    return repack(path, change)


def test_round_trip_keeps_everything(saved: Path, model: Model) -> None:
    loaded = load_artifact(saved)
    assert same_model(loaded.model, model)
    assert loaded.plan == model.plan
    assert loaded.spec_text == SPEC
    assert loaded.certificate == CERTIFICATE
    assert loaded.manifest["training"] == {"seconds": 1.5}
    assert loaded.manifest["dtype"] == "float32"
    assert loaded.manifest["units"] == {"derivatives": "1"}
    assert loaded.manifest["claims"] == model.plan.to_json()["claims"]
    assert read_manifest(saved) == loaded.manifest
    state = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    outputs, again = model({"state": state}), loaded.model({"state": state})
    assert all(torch.equal(outputs[name], again[name]) for name in outputs)


def test_equal_inputs_give_equal_bytes(tmp_path: Path, model: Model) -> None:
    a = save_artifact(tmp_path / "a.equic", model, spec_text=SPEC)
    b = save_artifact(tmp_path / "b.equic", build_module(hnn_plan(), seed=3), spec_text=SPEC)
    c = save_artifact(tmp_path / "c.equic", build_module(hnn_plan(), seed=4), spec_text=SPEC)
    assert a.read_bytes() == b.read_bytes() != c.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.equic", "b.equic", "c.equic"]


def test_load_in_another_dtype(saved: Path, model: Model) -> None:
    loaded = load_artifact(saved, dtype=torch.float64).model
    state = model.state_dict()
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float64
        assert torch.equal(value, state[name].double())


def test_certificate_is_replaced_and_removed(saved: Path) -> None:
    before = load_artifact(saved)
    update_certificate(saved, {"items": []})
    after = load_artifact(saved)
    assert after.certificate == {"items": []}
    assert same_model(before.model, after.model)
    update_certificate(saved, None)
    assert load_artifact(saved).certificate is None
    update_certificate(saved, CERTIFICATE)
    assert load_artifact(saved).manifest == before.manifest


def test_bit_flips_never_pass_unseen(saved: Path, model: Model) -> None:
    good = saved.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    # half anywhere, half in the zip's own directory at the end, where the odd exceptions come from
    positions = [*rng.integers(0, len(good), 200), *rng.integers(len(good) - 600, len(good), 200)]
    for position in positions:
        bad = bytearray(good)
        bad[position] ^= int(rng.integers(1, 256))
        saved.write_bytes(bad)
        try:
            assert same_model(load_artifact(saved).model, model)
        except ArtifactError:
            refused += 1
    assert refused > 250


def test_truncation_is_an_artifact_error(saved: Path) -> None:
    good = saved.read_bytes()
    rng = np.random.default_rng(1)
    for length in [0, 1, 21, len(good) - 1, *rng.integers(0, len(good), 60)]:
        saved.write_bytes(good[:length])
        with pytest.raises(ArtifactError):
            load_artifact(saved)


@pytest.mark.parametrize("name", ["spec.yaml", "plan.json", "weights.safetensors", "certificate.json"])
def test_an_entry_that_changed_or_vanished(saved: Path, name: str) -> None:
    good = saved.read_bytes()
    repack(saved, lambda entries: entries.update({name: entries[name] + b" "}))
    with pytest.raises(ArtifactError, match=f"{name} is not what the manifest says"):
        load_artifact(saved)
    saved.write_bytes(good)
    repack(saved, lambda entries: entries.pop(name))
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        load_artifact(saved)


@pytest.mark.parametrize("name", ["../plan.json", "/etc/passwd", "notes.txt", "kernels/"])
def test_foreign_entries_are_refused(saved: Path, name: str) -> None:
    repack(saved, lambda entries: entries.update({name: b"x"}))
    with pytest.raises(ArtifactError, match="unexpected entry"):
        load_artifact(saved)


def test_an_entry_that_the_manifest_does_not_list(saved: Path) -> None:
    update_certificate(saved, None)
    repack(saved, lambda entries: entries.update({"certificate.json": b"{}"}))
    with pytest.raises(ArtifactError, match=r"certificate\.json is not in the manifest"):
        load_artifact(saved)


def test_duplicate_names_are_refused(saved: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("plan.json", b"{}")
    with pytest.raises(ArtifactError, match="there twice"):
        load_artifact(saved)


def test_size_bombs_are_refused_before_they_are_read(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = saved.read_bytes()
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data if name != "spec.yaml" else b" " * 50_000_000)
    assert saved.stat().st_size < 1_000_000
    with pytest.raises(ArtifactError, match="compressed"):
        load_artifact(saved)
    saved.write_bytes(good)
    monkeypatch.setattr(container, "MAX_TEXT_BYTES", 100)
    with pytest.raises(ArtifactError, match="the limit is 100"):
        load_artifact(saved)
    monkeypatch.setattr(container, "MAX_FILE_BYTES", 1000)
    with pytest.raises(ArtifactError, match="limited to 1000"):
        load_artifact(saved)


def test_another_version_or_another_program(saved: Path) -> None:
    edit_manifest(saved, version=2, equic="9.9")
    with pytest.raises(ArtifactError, match=r"(?s)format version 2.*9\.9"):
        load_artifact(saved)
    edit_manifest(saved, version=1, format="something else")
    with pytest.raises(ArtifactError, match="not an equic artifact"):
        load_artifact(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"entries": None},
        {"entries": {"plan.json": 1}},
        {"entries": {}},
        {"dtype": "int8"},
        {"constants": [1]},
    ],
)
def test_a_manifest_that_makes_no_sense(saved: Path, changes: dict[str, object]) -> None:
    edit_manifest(saved, **changes)
    with pytest.raises(ArtifactError):
        load_artifact(saved)


def test_not_an_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no file"):
        load_artifact(tmp_path / "none.equic")
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_artifact(tmp_path)
    text = tmp_path / "text.equic"
    text.write_text("hello")
    with pytest.raises(ArtifactError, match="damaged or not an equic artifact"):
        load_artifact(text)
    with zipfile.ZipFile(text, "w"):
        pass
    with pytest.raises(ArtifactError, match=r"has no manifest\.json"):
        load_artifact(text)


def rewrite_honestly(path: Path, name: str, data: bytes) -> None:
    """Replace one entry and its hash: what a hostile writer would do."""
    manifest, entries = container.read_container(path)
    container.write_container(path, manifest, entries | {name: data})


def test_hostile_entries_with_good_hashes(saved: Path) -> None:
    good = saved.read_bytes()
    plan = json.loads(container.read_container(saved)[1]["plan.json"])
    for data in (b"[]", b"{", b"\xff", b"[" * 100_000, json.dumps(plan | {"version": 7}).encode()):
        rewrite_honestly(saved, "plan.json", data)
        with pytest.raises(ArtifactError, match=r"plan\.json"):
            load_artifact(saved)
        saved.write_bytes(good)
    for steps in (plan["steps"] + [3], [{**plan["steps"][1], "layer": "eval"}], 5):
        rewrite_honestly(saved, "plan.json", json.dumps(plan | {"steps": steps}).encode())
        with pytest.raises(ArtifactError):
            load_artifact(saved)
        saved.write_bytes(good)
    for data in (b"", b"\x80\x04.", b"\xff" * 64):
        rewrite_honestly(saved, "weights.safetensors", data)
        with pytest.raises(ArtifactError, match="weights"):
            load_artifact(saved)
        saved.write_bytes(good)


def test_weights_that_do_not_fit_the_plan(saved: Path, model: Model) -> None:
    from safetensors.torch import save

    good = saved.read_bytes()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    first = sorted(state)[0]
    wrong = {
        "lacks": {name: value for name, value in state.items() if name != first},
        "unknown to the plan": state | {"other": torch.zeros(2)},
        "but the plan wants": state | {first: torch.zeros(77)},
        "int64": state | {first: state[first].long()},
    }
    for message, tensors in wrong.items():
        rewrite_honestly(saved, "weights.safetensors", save(tensors))
        with pytest.raises(ArtifactError, match=message):
            load_artifact(saved)
        saved.write_bytes(good)


def test_nothing_in_an_artifact_is_a_pickle(saved: Path) -> None:
    manifest, entries = container.read_container(saved)
    assert set(entries) == {"spec.yaml", "plan.json", "weights.safetensors", "certificate.json"}
    for name, entry in manifest["entries"].items():
        assert entry == {"sha256": hashlib.sha256(entries[name]).hexdigest(), "bytes": len(entries[name])}
    assert b"\x80\x04" not in entries["plan.json"]


def test_a_failed_write_leaves_the_old_file(
    saved: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        save_artifact(saved, model, spec_text="other")
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_coupling_tables_are_recognised_in_every_precision(tmp_path: Path) -> None:
    small = mace_plan(channels=2, lmax=2, correlation=3, layers=1, widths=(4,))
    model = build_module(small, seed=0, dtype=torch.float32)
    model.set_statistics({"atomic_energies": [-13.6, -1030.1, -2040.2], "scale": 0.7})
    path = save_artifact(tmp_path / "m.equic", model, spec_text="")
    loaded = load_artifact(path, dtype=torch.float64).model
    assert loaded.statistics.get_buffer("scale").item() == 0.7
    a, b = constant_fingerprints(model), constant_fingerprints(loaded)
    assert len(a) > 5
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=1e-6)
    tables = {name: buffer for name, buffer in model.named_buffers() if name in a}
    name, table = max(tables.items(), key=lambda item: item[1].numel())
    for change in (table * -1, table.flip(0), table * 1.01):
        before = table.clone()
        table.copy_(change)
        assert np.abs(np.subtract(constant_fingerprints(model)[name], a[name])).max() > 1e-4
        table.copy_(before)


def test_constants_of_another_version_are_noticed(saved: Path, model: Model) -> None:
    manifest = read_manifest(saved)
    assert manifest["constants"] == constant_fingerprints(model)
    manifest["constants"]["steps.A.table.value"] = [0.0, 0.5, 0.5]
    edit_manifest(saved, constants=manifest["constants"])
    with pytest.raises(ArtifactError, match=r"constants in `steps\.A\.table\.value`"):
        load_artifact(saved)
