"""Reports: self-contained, escaped, complete, and right in what they compute themselves."""

import base64
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from equic.runtime.build import build_module
from equic.runtime.certify import Certificate, Item
from equic.runtime.dynamics import run_md
from equic.runtime.errors import EquicError
from equic.runtime.plan import Plan
from equic.runtime.reports import read_run, write_report
from equic.runtime.reports.errors import group_runs
from equic.runtime.reports.html import Html, h
from equic.runtime.reports.numbers import duration, show, show_error, size
from equic.runtime.testing.plans import hnn_plan, mace_plan
from equic.runtime.tuning.result import TrialRow, TuningResult

EVIL = "<script>alert('x')</script>&\"$\\frac{"
VOID = {"meta", "br", "hr", "col", "img"}


class Outline(HTMLParser):
    """Tags that are never closed, attributes, and the text of a page without its pictures."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.errors: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.errors.append(f"</{tag}> closes nothing")

    def handle_data(self, data) -> None:
        if "svg" not in self.stack and "style" not in self.stack:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def check_page(path: Path) -> Outline:
    """The page is well formed, loads nothing, runs nothing, and its pictures say what they show."""
    page = path.read_text(encoding="utf-8")
    outline = Outline(page)
    assert outline.errors == []
    assert outline.stack == []
    ids = [value for _, name, value in outline.attributes if name == "id"]
    assert len(ids) == len(set(ids)), "ids clash between figures"
    for tag, name, value in outline.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("href", "src", "xlink:href", "srcset", "action"):
            assert value.startswith(("#", "data:image/png;base64,", "data:image/svg+xml;base64,")), (
                tag,
                name,
                value,
            )
    assert not any(tag in page for tag in ("<script", "<link", "<iframe", "<object", "<embed"))
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    for tag, name, value in outline.attributes:
        if tag == "a" and name == "href":
            assert value[1:] in ids
    pictures = page.count("<svg")
    assert page.count('role="img"') == pictures
    assert len(re.findall(r"<svg[^>]*><title>[^<]+</title>", page)) == pictures
    assert not re.search(r"#0101[01]\d", page), "a marker colour was left in a picture"
    return outline


@pytest.fixture(scope="module")
def run_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two runs as training writes them."""
    folders = {}
    for seed, force in ((1, 0.020), (2, 0.024)):
        folder = tmp_path_factory.mktemp("run")
        columns = (
            "epoch,step,rate,loss,loss_energy,loss_forces,validation_loss,validation_energy_rmse_per_atom,"
            "validation_energy_rmse,validation_forces_rmse,seconds"
        )
        rows = [
            f"{e},{e * 9},0.01,{1 / e},{4 / e**2},{1 / e**2},{1 / e},0.00{e},0.01,{0.5 / e},{e}"
            for e in range(1, 9)
        ]
        (folder / "history.csv").write_text("\n".join([columns, *rows]) + "\n")
        errors = {
            "energy": {"rmse": 0.01, "mae": 0.008, "rmse_per_atom": 0.0012, "mae_per_atom": 0.001},
            "forces": {"rmse": force, "mae": 0.01},
        }
        metrics = {
            "metrics": {"test": errors},
            "units": {"energy": "eV", "forces": "eV/Å"},
            "samples": {"test": 1234},
            "seconds": 754.0,
        }
        (folder / "metrics.json").write_text(json.dumps(metrics))
        plan = mace_plan(stress=False).to_json()
        plan["train"]["seed"], plan["spec_hash"] = seed, f"sha256:{seed}"
        (folder / "plan.json").write_text(json.dumps(plan))
        folders[f"seed {seed}"] = folder
    return folders


def evil_plan() -> Plan:
    data = mace_plan(mode=("relaxed", 0.3)).to_json()
    data["name"] = EVIL
    data["claims"][0]["ops"] = [EVIL]
    data["conserved"][0]["broken_by"] = EVIL
    data["graph_hash"] = EVIL
    return Plan.from_json(data)


def certificate() -> Certificate:
    return Certificate(
        (
            Item("SO(3) equivariance, forces", "float64", 3e-2, None, "relative", "reported", EVIL, EVIL),
            Item("translation", "float64", 2e-16, 1e-10, "relative", "holds", "moved"),
            Item("translation", "float32", 2e-7, 1e-4, "relative", "holds", "moved"),
            Item("size extensivity", "float32", 3e-4, 1e-4, "relative", "fails", "two as one"),
            Item("NVE energy drift", "float64", float("inf"), 1e-3, "relative", "fails", "slope"),
            Item("NVE angular momentum", "float64", None, None, "", "not applicable", "", "relaxed"),
        ),
        {"name": EVIL, "device": "cpu"},
    )


def tuning() -> dict:
    strengths = (0.0, 1.0, 0.001, 0.01, 0.1, 0.3, 0.3)
    objectives = (1.05, 4.8, 0.9, 0.7, 0.4, 0.2, 0.22)
    rows = [
        TrialRow(
            i,
            {"symmetry.O(3).relaxed": s, "model.mode": "hard" if i % 2 or i == 6 else EVIL},
            "complete",
            y,
            repeat=int(i == 6),
        )
        for i, (s, y) in enumerate(zip(strengths, objectives, strict=True))
    ]
    rows.append(TrialRow(7, {"symmetry.O(3).relaxed": 0.5}, "failed", reason=EVIL))
    result = TuningResult(
        "x",
        "minimize",
        7,
        tuple(rows),
        ("symmetry.O(3).relaxed", "model.mode"),
        {"a": 0.8, EVIL: 0.2},
        "TPE",
        "y",
    )
    return {**result.to_json(), "evidence": f"O(3) is broken: {EVIL}", "objective": f"RMSE {EVIL}"}


def test_a_full_report_is_self_contained_and_escaped(run_folders, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    time = np.linspace(0, 1, 50)
    md = {
        "ensemble": EVIL, "timestep_fs": 0.5, "steps": 100, "atoms": 9, "time": time, "kinetic": time, "total": time,
        "potential": time, "temperature": 300 + time, "drift": {"slope": 3e-6, "standard_error": 1e-6},
    }  # fmt: skip
    path = write_report(
        tmp_path / "deep" / "report.html",
        title=EVIL,
        runs={EVIL: run_folders["seed 1"], "_hidden": run_folders["seed 2"]},
        certificates={EVIL: certificate()},
        plan=evil_plan(),
        parity={
            EVIL: {
                EVIL: (rng.normal(size=9), rng.normal(size=9), "eV"),
                "f": (np.ones(2000), np.zeros(2000), EVIL),
            }
        },
        tuning=tuning(),
        md={EVIL: md},
        rollout={"time": time, "energy": {EVIL: time, "_b": -time}, "x": EVIL, "caption": EVIL, "unit": EVIL},
        portrait={"series": {EVIL: (time, time**2), "b": (time, time)}, "x": EVIL, "y": EVIL},
        exports=[{"file": EVIL, "dtype": "float64", "isa": "native", "bytes": 1_830_000, EVIL: EVIL}],
        environment={EVIL: EVIL},
        notes=[EVIL],
    )
    outline = check_page(path)
    assert outline.text.count(EVIL) > 15
    for words in (
        "What was declared, proven and measured", "Learning curves", "Certificate", "Molecular dynamics",
        "Phase space", "Exported files", "Hardware", "1.8 MB", "0.003 ± 0.001", "2 of 4",
    ):  # fmt: skip
        assert words in outline.text, words
    assert outline.text.count("★ best") == len(tuning()["best"]["numbers"])


def test_only_what_is_given_appears(tmp_path: Path) -> None:
    outline = check_page(write_report(tmp_path / "r.html", title="Nothing yet"))
    assert "Certificate" not in outline.text
    assert "Hardware" in outline.text


def test_errors_are_means_and_spreads_in_the_fields_units(run_folders, tmp_path: Path) -> None:
    path = write_report(tmp_path / "r.html", title="t", runs=run_folders)
    text = check_page(path).text
    assert "22.0 ± 2.8" in text  # forces: mean and standard deviation of 20 and 24 meV/Å
    assert "forces RMSE meV/Å" in text
    assert "energy RMSE meV/atom" in text
    assert "1,234" in text
    assert "12 min 34 s" in text


def test_only_seeds_are_averaged(run_folders, tmp_path: Path) -> None:
    """A strict and a relaxed model side by side are two models, whatever their folders are called."""
    for name, folder in run_folders.items():
        (tmp_path / name).mkdir()
        for file in folder.iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    data = mace_plan(stress=False, mode=("relaxed", 0.3)).to_json()
    (tmp_path / "seed 2" / "plan.json").write_text(json.dumps(data))
    runs = [read_run(tmp_path / name) for name in run_folders]
    assert [len(group) for group in group_runs(runs)] == [1, 1]
    text = check_page(write_report(tmp_path / "r.html", title="t", runs=runs)).text
    assert "±" not in text
    assert "model set samples" in text
    assert [len(group) for group in group_runs([read_run(folder) for folder in run_folders.values()])] == [2]


def test_parity_statistics(tmp_path: Path) -> None:
    truth = np.array([0.0, 1.0, 2.0, 3.0])
    path = write_report(
        tmp_path / "r.html", title="t", parity={"forces": (truth, truth + [0.01, -0.01, 0.01, -0.01], "eV/Å")}
    )
    text = check_page(path).text
    assert "RMSE 10 meV/Å · MAE 10 meV/Å" in text
    assert "R² 0.9999" in text
    far = write_report(tmp_path / "f.html", title="t", parity={"energy": (truth - 4200, truth - 4200, "eV")})
    assert "energy, less -4198.5 eV" in check_page(far).text


def test_parts_and_differences_of_two_runs(tmp_path: Path) -> None:
    for k, rmse in enumerate((0.02, 0.03)):
        folder = tmp_path / f"r{k}"
        folder.mkdir()
        plan = mace_plan(stress=False, mode="hard" if k == 0 else ("relaxed", 0.3)).to_json()
        (folder / "plan.json").write_text(json.dumps(plan))
        rows = {
            "H": {"mae": rmse / 2, "rmse": rmse, "count": 60},
            EVIL: {"mae": 0.0, "rmse": 0.004, "count": 30},
        }
        metrics = {
            "metrics": {"test": {"forces": {"rmse": rmse, "mae": rmse}}},
            "parts": {"test": {"species": {"forces": rows}, "config_type": {"energy": rows}}},
            "seconds": 60.0 * (k + 1),
        }
        (folder / "metrics.json").write_text(json.dumps(metrics))
        history = "epoch,step,validation_loss,symmetry_SO(3)\n1,2,0.5,0.1\n2,4,0.4,0.2\n"
        (folder / "history.csv").write_text(history)
    runs = [read_run(tmp_path / name, name) for name in ("r0", "r1")]
    text = check_page(write_report(tmp_path / "r.html", title="t", runs=runs)).text
    assert "By species forces (meV/Å) species numbers r0 r1 H 60 20 30" in text
    assert f"{EVIL} 30 4 4" in text
    assert "By kind of frame (config_type) energy (meV/atom)" in text
    assert "symmetry.SO(3) hard relaxed 0.3" in text
    assert "time 1 min 2 min" in text
    assert "train.epochs" not in text  # the same for both
    assert "SO(3), measured" in text
    alone = check_page(write_report(tmp_path / "a.html", title="t", runs=runs[:1])).text
    assert "What tells the runs apart" not in alone


def test_errors_are_shown_as_histograms(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=3000)
    series = {
        name: {"forces": (truth, truth + rng.normal(scale=scale, size=3000), "eV/Å")}
        for name, scale in (("a", 0.01), ("b", 0.02))
    }
    series["a"]["forces"][1][0] = truth[0] + 7.0  # one outlier must not hide the others
    text = check_page(write_report(tmp_path / "r.html", title="t", parity=series)).text
    assert "How the errors are spread" in text
    assert "The largest error is 7000 meV/Å" in text
    same = {"energy": (truth, truth, "eV")}
    assert (
        "The largest error is 0 meV"
        in check_page(write_report(tmp_path / "s.html", title="t", parity=same)).text
    )


def test_graphs_are_folded_images_one_for_each_model(run_folders, tmp_path: Path) -> None:
    one, two = (read_run(folder, name) for name, folder in run_folders.items())
    assert one.picture is None
    assert "Show the graph" not in write_report(tmp_path / "none.html", title="t", runs=[one]).read_text()
    shape = '<svg xmlns="http://www.w3.org/2000/svg"><title id="a">{}</title></svg>'
    drawn = [replace(run, picture=shape.format(EVIL)) for run in (one, two)]
    page = write_report(tmp_path / "same.html", title="t", runs=drawn)
    outline = check_page(page)
    images = [value for tag, name, value in outline.attributes if (tag, name) == ("img", "src")]
    (image,) = images
    assert base64.b64decode(image.partition(",")[2]).decode() == shape.format(EVIL)
    assert "Show the graph" in outline.text
    assert "<details>" in page.read_text()
    other = [drawn[0], replace(two, picture=shape.format("other"))]
    outline = check_page(write_report(tmp_path / "two.html", title="t", runs=other))
    assert sum((tag, name) == ("img", "src") for tag, name, _ in outline.attributes) == 2
    assert "Show the graph of seed 1" in outline.text
    assert "Show the graph of seed 2" in outline.text


def test_the_picture_of_a_run_is_read(run_folders, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(next(iter(run_folders.values())), folder)
    (folder / "graph.svg").write_text("<svg/>", encoding="utf-8")
    assert read_run(folder).picture == "<svg/>"
    (folder / "graph.svg").write_bytes(b"\xff\xfe")
    with pytest.raises(EquicError, match="cannot be read"):
        read_run(folder)


def test_claims_stand_beside_what_was_measured(tmp_path: Path) -> None:
    path = write_report(
        tmp_path / "r.html", title="t", plan=mace_plan(mode=("relaxed", 0.3)), certificates=certificate()
    )
    page = path.read_text()
    claims = page[page.index('id="claims"') : page.index('id="certificate"')]
    rows = re.findall(r"<tr>(.*?)</tr>", claims, flags=re.S)
    row = {
        re.sub(r"<[^>]+>", "", re.match(r"<th[^>]*>(.*?)</th>", r)[1]): r
        for r in rows
        if r.startswith('<th scope="row"')
    }
    assert "relaxed, strength 0.3" in row["SO(3)"]
    assert "● reported" in row["SO(3)"]
    assert "✓ exact" in row["translation"]
    assert row["translation"].count("✓ holds") == 2
    assert "not measured" in row["permutation"]
    assert "✗ fails" in row["energy"]  # by its drift, not by an equivariance of the energy
    assert "SO(3) is not hard" in row["angular momentum"]


def test_results_of_dynamics_and_of_certificates_go_in_as_they_are(tmp_path: Path) -> None:
    from ase.build import bulk
    from ase.calculators.emt import EMT

    result = run_md(bulk("Cu", cubic=True), EMT(), temperature=300, steps=40, log_every=1, timestep_fs=2.0)
    path = write_report(tmp_path / "r.html", title="t", md=result, certificates=certificate().to_json())
    text = check_page(path).text
    assert "40 × 2 fs" in text
    assert "NVE energy drift" in text


def test_phase_space_reports(tmp_path: Path) -> None:
    from equic.runtime.integrators import rollout

    plan = hnn_plan(dim=2)
    model = build_module(plan, seed=0, dtype=torch.float64)
    orbit = rollout(model, torch.tensor([[1.0, 0.0]], dtype=torch.float64), dt=0.05, steps=100)
    with torch.no_grad():
        energy = model({"state": orbit[:, 0]})["hamiltonian"]
    path = write_report(
        tmp_path / "r.html",
        title="pendulum",
        plan=plan,
        rollout={"time": 0.05 * np.arange(101), "energy": {"model": energy.numpy()}},
        portrait={"series": {"model": (orbit[:, 0, 0].numpy(), orbit[:, 0, 1].numpy())}},
    )
    text = check_page(path).text
    assert "phase space of q, integrated by leapfrog" in text
    assert "phase portrait" in text


def test_the_same_arguments_give_the_same_pictures(tmp_path: Path) -> None:
    pages = []
    for name in ("a.html", "b.html"):
        path = write_report(tmp_path / name, title="t", certificates=certificate(), tuning=tuning())
        pages.append(re.sub(r"equic report · [^<]+", "", path.read_text()))
    assert pages[0] == pages[1]


def test_runs_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EquicError, match="is not the folder of a run"):
        read_run(tmp_path / "none")
    with pytest.raises(EquicError, match=r"neither history\.csv nor metrics\.json"):
        read_run(tmp_path)
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(EquicError, match="is not JSON"):
        read_run(tmp_path)
    (tmp_path / "metrics.json").unlink()
    (tmp_path / "history.csv").write_text("epoch,loss\n1,0.5\n2,\n3,nan\n")
    run = read_run(tmp_path)
    assert run.column("loss")[0] == [1.0, 3.0]
    check_page(write_report(tmp_path / "r.html", title="t", runs=[tmp_path]))


def test_markup_is_only_what_is_declared_to_be() -> None:
    assert (
        h("p", "<b>", Html("<i>x</i>"), None, ["a", 1], class_="x&y")
        == '<p class="x&amp;y">&lt;b&gt;<i>x</i>a1</p>'
    )


def test_numbers_are_readable() -> None:
    assert [show(value) for value in (0.000123456, 999.9, 1e-7, 21.0, -0.5)] == [
        "0.000123",
        "1000",
        "1e-7",
        "21",
        "-0.5",
    ]
    assert [show_error(value) for value in (1e-10, 4.4e-16, 0.0, float("inf"))] == [
        "1e-10",
        "4.4e-16",
        "0",
        "∞",
    ]
    assert [duration(value) for value in (0.25, 59.7, 3600)] == ["0.2 s", "60 s", "1 h"]
    assert [size(value) for value in (12, 1830, 2_500_000_000)] == ["12 bytes", "1.8 kB", "2.5 GB"]
