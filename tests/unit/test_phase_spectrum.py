"""Spectra of flows over SO(2): known functions, a model that keeps it, planted parts of known share."""

import io
import json
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from equic.runtime.artifact import save_artifact
from equic.runtime.build import Model, build_module
from equic.runtime.certify.certificate import Certificate
from equic.runtime.certify.spectrum import spectrum
from equic.runtime.certify.spectrum_picture import render_spectrum
from equic.runtime.errors import EquicError
from equic.runtime.testing.plans import hnn_plan
from rich.console import Console
from typer.testing import CliRunner

import equic
from equic.cli import app

SPEC = Path(__file__).parents[2] / "examples/05_two_body/spec.yaml"
STATES = np.random.default_rng(0).normal(size=(12, 8))
NAMES = ["dq1/dt", "dq2/dt", "dp(q1)/dt", "dp(q2)/dt", "hamiltonian"]


@lru_cache
def two_bodies() -> Model:
    return equic.compile(SPEC, ["model.hidden=[8, 8]"]).double()


class Given:
    """A flow and an energy of one's own, in the coordinates of the two bodies."""

    def __init__(self, function) -> None:
        self.plan, self.dtype, self.function = two_bodies().plan, torch.float64, function

    def __call__(self, inputs):
        z = inputs["state"]
        flow, energy = self.function(z.reshape(-1, 4, 2))
        return {"derivatives": flow.reshape(z.shape), "hamiltonian": energy}


def rows(model, **options):
    return {one.at: one for one in spectrum(model, frames=STATES, **options).contents}


def test_a_flow_that_keeps_it_is_what_it_claims() -> None:
    found = rows(two_bodies())
    assert list(found) == NAMES
    for name, one in found.items():
        assert one.irrep == ("0" if name == "hamiltonian" else "1")
        assert one.strays < 1e-12
        assert one.errors["SO(2)"] < 1e-12
        assert one.size > 0.0


def test_functions_of_known_frequency() -> None:
    """(x + iy)^m has frequency m, |z|² none; an even mixture has a half of each."""

    def function(z):
        w = torch.complex(z[:, 0, 0], z[:, 0, 1])
        cube = torch.view_as_real(w**3)
        half = torch.view_as_real(w / w.abs() + (w / w.abs()) ** 2)
        high = torch.view_as_real((w / w.abs()) ** 9)
        flow = torch.stack([z[:, 1], cube, half, high], dim=1)
        return flow, w.real * w.imag + 7.0 * w.abs() ** 2

    found = rows(Given(function), lmax=4)
    assert found["dq1/dt"].shares["1"] == pytest.approx(1.0)
    assert found["dq2/dt"].shares["3"] == pytest.approx(1.0)
    assert found["dp(q1)/dt"].shares["1"] == pytest.approx(0.5)
    assert found["dp(q1)/dt"].shares["2"] == pytest.approx(0.5)
    assert found["dp(q2)/dt"].shares["above"] == pytest.approx(1.0)
    w = STATES[:, :2]
    lengths = (w**2).sum(axis=1)
    part = (lengths**2 / 8).mean()  # of xy = r² sin(2a)/2
    whole = part + 49.0 * np.var(lengths)
    assert found["hamiltonian"].shares["2"] == pytest.approx(part / whole)
    assert found["hamiltonian"].shares["0"] == pytest.approx(1.0 - part / whole)


def test_a_planted_wind_has_its_share_and_its_error() -> None:
    def function(z):
        out = two_bodies()({"state": z.reshape(-1, 8)})
        flow = out["derivatives"].reshape(-1, 4, 2).clone()
        flow[:, 2] += torch.tensor([0.3, 0.0], dtype=torch.float64)
        return flow, out["hamiltonian"]

    plain, blown = rows(two_bodies()), rows(Given(function))
    sound = plain["dp(q1)/dt"].size ** 2
    share = 0.045 / (sound + 0.045)
    assert blown["dp(q1)/dt"].shares["0"] == pytest.approx(share, rel=1e-9)
    assert blown["dp(q1)/dt"].errors["SO(2)"] == pytest.approx(np.sqrt(share), rel=1e-9)
    assert blown["dp(q2)/dt"].strays < 1e-12


def test_what_has_no_spectrum() -> None:
    with pytest.raises(EquicError, match=r"no coordinate of `.*` turns"):
        spectrum(build_module(hnn_plan(), seed=0))
    with pytest.raises(EquicError, match="leave `--at` out"):
        spectrum(two_bodies(), at=["H"])


def test_it_is_printed_by_frequency() -> None:
    console = Console(file=io.StringIO(), width=160)
    render_spectrum(spectrum(two_bodies(), frames=STATES, lmax=2), console)
    words = console.file.getvalue()
    assert "response to SO(2), float64, 12 states, frequencies up to 2" in words
    assert "A, SO(2)" in words
    assert "inversion" not in words


def test_the_command_measures_and_draws_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from equic.runtime.certify import verify

    monkeypatch.setattr(
        verify, "certify", lambda *a, **k: Certificate((), {})
    )  # this is not about certificates
    file = save_artifact(tmp_path / "m.equic", two_bodies(), spec_text="equic: 1\n")
    picture, states = tmp_path / "p.svg", tmp_path / "z.npz"
    np.savez(states, z=STATES)
    options = ["--data", str(states), "--lmax", "2", "--picture", str(picture), "--json"]
    done = CliRunner().invoke(app, ["verify", str(file), *options])
    found = json.loads(done.stdout)["spectrum"]
    assert found["group"] == "SO(2)"
    assert [one["at"] for one in found["contents"]] == NAMES
    root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
    cells = [node for node in root.iter() if node.tag.endswith("rect") and node.get("stroke") == "#c2410c"]
    assert len(cells) == len(NAMES)
