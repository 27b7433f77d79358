"""The same plans on a CUDA device: run where there is one, skipped in plain sight where there is none."""

from pathlib import Path

import numpy as np
import pytest
import torch

import equic

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: torch sees none"),
]
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two epochs on the device that `auto` picks, which is the GPU."""
    overrides = ["model.channels=8", "train.epochs=2", "data.validation=20", "data.test=20"]
    runs = tmp_path_factory.mktemp("runs")
    return equic.train(EXAMPLES / "01_ethanol/spec.yaml", overrides, runs=runs, progress=False)


def test_auto_picks_the_gpu_and_training_lowers_the_loss(trained):
    assert next(trained.model.parameters()).is_cuda
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]


def test_both_devices_predict_the_same(trained):
    import ase.io

    frames = ase.io.read(EXAMPLES / "data/ethanol.xyz", index=":20")
    results = {
        device: equic.load(trained.artifact, device=device, dtype="float64").predict(frames)
        for device in ("cpu", "cuda")
    }
    for here, there in zip(*results.values(), strict=True):
        np.testing.assert_allclose(here["energy"], there["energy"], rtol=1e-12)
        np.testing.assert_allclose(here["forces"], there["forces"], atol=1e-10)


def test_claims_hold_on_the_gpu(trained):
    certificate = equic.verify(trained.artifact, device="cuda")
    assert certificate.ok, certificate.failures
    assert certificate.item("parity with the reference", "float32").status == "holds", (
        "messages on tables of neighbours"
    )


def test_phase_spaces_train_there_too(tmp_path):
    spec = EXAMPLES / "03_pendulum/spec.yaml"
    run = equic.train(spec, ["train.epochs=3"], runs=tmp_path, progress=False, device="cuda")
    assert run.history[-1]["loss"] < run.history[0]["loss"]
