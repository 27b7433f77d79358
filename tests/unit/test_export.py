"""Exported packages: the numbers of the model, at every size, in a file that checks what it is given."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from equic.runtime.build import Model, build_module
from equic.runtime.calculators import EquicCalculator
from equic.runtime.certify import certify, parity_item, probes
from equic.runtime.errors import EquicError, ExportError
from equic.runtime.export import Exported, export_pt2, load_pt2, package, read_metadata, selfcheck
from equic.runtime.export.samples import sample_inputs, trace_inputs
from equic.runtime.export.trace import Traced, recast, trace
from equic.runtime.testing.plans import hnn_plan, mace_plan

PLAN = mace_plan(channels=2, lmax=1, correlation=2, layers=1, widths=(8,))


@pytest.fixture(scope="module")
def model() -> Model:
    """Float32 weights with statistics of a realistic size; exported in float64."""
    made = build_module(PLAN, seed=3, dtype=torch.float32)
    made.set_statistics(
        {"atomic_energies": [-13.6, -1029.2, -2042.0], "scale": 1.7, "average_neighbors": 12.5}
    )
    return made


@pytest.fixture(scope="module")
def reference(model: Model) -> Model:
    return recast(model, torch.float64)


@pytest.fixture(scope="module")
def exported(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    path = tmp_path_factory.mktemp("export") / "small.pt2"
    certificate = {"items": [], "note": "Å"}
    return load_pt2(
        export_pt2(model, path, certificate=certificate, probes=probes(model, seed=1), meta={"run": 7})
    )


def largest_difference(model: Model, exported: Exported, inputs: dict[str, torch.Tensor]) -> float:
    expected, found = model(inputs), exported(inputs)
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape
        assert found[name].dtype == value.dtype
    return max(float((found[name] - value).abs().max()) for name, value in expected.items())


@pytest.mark.parametrize("atoms", [[1], [2], [16], [17], [5, 1, 60], [300]], ids=str)
@pytest.mark.parametrize("edges", [True, False], ids=["bonded", "isolated"])
def test_numbers_are_the_models_at_every_size(
    reference: Model, exported: Exported, atoms: list[int], edges: bool
) -> None:
    inputs = sample_inputs(PLAN, atoms, edges=edges, seed=sum(atoms))
    assert largest_difference(reference, exported, inputs) < 1e-9  # energies are of order 1e5 eV


def test_forces_are_the_gradient_of_its_own_energy(exported: Exported) -> None:
    inputs = sample_inputs(PLAN, [6], seed=11)
    forces, step = exported(inputs)["forces"], 1e-4
    for atom, axis in ((0, 0), (3, 1), (5, 2)):
        ends = []
        for sign in (-1.0, 1.0):
            moved = inputs["positions"].clone()
            moved[atom, axis] += sign * step
            ends.append(float(exported({**inputs, "positions": moved})["node_energy"].double().sum()))
        numeric = -(ends[1] - ends[0]) / (2 * step)
        assert float(forces[atom, axis]) == pytest.approx(numeric, abs=1e-6)


def test_strided_inputs_are_made_contiguous(reference: Model, exported: Exported) -> None:
    inputs = sample_inputs(PLAN, [9, 4], seed=2)
    strided = {
        **inputs,
        "positions": inputs["positions"].t().contiguous().t(),
        "cell": inputs["cell"].mT.contiguous().mT,
        "edges": inputs["edges"].t().contiguous().t(),
    }
    assert not strided["positions"].is_contiguous()
    assert not strided["edges"].is_contiguous()
    assert largest_difference(reference, exported, strided) < 1e-9


def test_odd_strides_of_empty_and_single_dimensions(reference: Model, exported: Exported) -> None:
    """What numpy gives for an empty array, and expand for a single cell: contiguous, yet not as promised."""
    inputs = sample_inputs(PLAN, [3], edges=False, seed=2)
    odd = {
        **inputs,
        "edges": torch.as_strided(inputs["edges"], (2, 0), (1, 0)),
        "cell": torch.as_strided(inputs["cell"], (1, 3, 3), (0, 3, 1)),
    }
    assert odd["edges"].is_contiguous()
    assert odd["cell"].is_contiguous()
    assert largest_difference(reference, exported, odd) < 1e-9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: {"positions": x["positions"].float()}, "`positions` is float32"),
        (lambda x: {"species": x["species"].int()}, "`species` is int32"),
        (lambda x: {"positions": x["positions"][:, :2]}, "has shape"),
        (lambda x: {"cell": x["cell"][0]}, "has shape"),
        (lambda x: {"system": x["system"][:-1]}, "13 atoms, but `system` has 12"),
        (lambda x: {"shifts": x["shifts"][:-1]}, "edges, but `shifts` has"),
        (lambda x: {"edges": x["edges"] + 1}, "`edges` has the index 13"),
        (lambda x: {"species": x["species"] + 3}, "there are 3 species"),
        (lambda x: {"system": x["system"] - 1}, "`system` has the index -1"),
        (lambda x: {"cell": x["cell"][:1]}, "there are 1 systems"),
    ],
)
def test_wrong_inputs_are_refused(exported: Exported, change, message: str) -> None:
    inputs = sample_inputs(PLAN, [9, 4], seed=2)
    with pytest.raises(ExportError, match=message):
        exported({**inputs, **change(inputs)})


def test_missing_and_empty_inputs_are_refused(exported: Exported) -> None:
    inputs = sample_inputs(PLAN, [2], seed=2)
    with pytest.raises(ExportError, match="needs the input `shifts`"):
        exported({name: value for name, value in inputs.items() if name != "shifts"})
    empty = {name: value[:0] if name != "edges" else value[:, :0] for name, value in inputs.items()}
    with pytest.raises(ExportError, match="0 atoms"):
        exported(empty)


def test_metadata_says_what_the_file_is(model: Model, exported: Exported) -> None:
    metadata, facts = read_metadata(exported.path)
    assert metadata == exported.metadata
    assert exported.plan == PLAN
    assert exported.dtype is torch.float64
    assert [port["name"] for port in metadata["inputs"]] == [
        "positions", "species", "cell", "system", "edges", "shifts",
    ]  # fmt: skip
    shapes = {port["name"]: (port["shape"], port["dtype"]) for port in metadata["outputs"]}
    assert shapes == {
        "energy": (["systems"], "float64"),
        "forces": (["atoms", 3], "float64"),
        "stress": (["systems", 3, 3], "float64"),
        "node_energy": (["atoms"], "float64"),
    }
    assert metadata["units"]["forces"] == "eV/Å"
    assert metadata["certificate"]["note"] == "Å"
    assert metadata["meta"] == {"run": 7}
    assert metadata["weights_hash"].startswith("sha256:")
    assert metadata["versions"]["torch"] == torch.__version__
    if metadata["isa"] == "x86-64-v3":
        assert facts["AOTI_CPU_ISA"] == "AVX2"


def test_weights_of_another_model_can_be_put_into_the_package(exported: Exported, tmp_path: Path) -> None:
    """The map in the metadata is from our names to those of the package; every weight and statistic is there."""
    other = build_module(PLAN, seed=8, dtype=torch.float64)
    other.set_statistics({"atomic_energies": [1.0, 2.0, 3.0], "scale": 0.3})
    names = exported.metadata["constants"]
    assert set(names) == set(other.state_dict())
    copy = shutil.copy(exported.path, tmp_path / "swapped.pt2")
    loader = torch._C._aoti.AOTIModelPackageLoader(str(copy), "model", False, 1, -1)
    assert set(names.values()) <= set(loader.get_constant_fqns())
    constants = {names[name]: value.detach().clone() for name, value in other.state_dict().items()}
    loader.load_constants(constants, False, False, False)
    inputs = sample_inputs(PLAN, [6, 3], seed=4)
    found = loader.run([inputs[port.name] for port in exported.inputs])
    for value, expected in zip(found, other(inputs).values(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-11)


def test_probes_in_the_file_agree_with_it(exported: Exported) -> None:
    item = parity_item(exported, exported.metadata["probes"])
    assert item.status == "holds"
    assert item.value < 1e-11


def test_an_exported_file_can_be_certified(exported: Exported) -> None:
    certificate = certify(exported, dtypes=("float64",), group_elements=2)
    assert certificate.ok, certificate.failures


def test_the_calculator_takes_exported_files(reference: Model, exported: Exported) -> None:
    from ase.build import molecule

    atoms = molecule("CH3OH")
    results = []
    for calculator in (EquicCalculator(reference, device="cpu"), EquicCalculator(exported)):
        atoms.calc = calculator
        results.append((atoms.get_potential_energy(), atoms.get_forces()))
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-9)
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-11)
    with pytest.raises(EquicError, match="computes in float64"):
        EquicCalculator(exported, dtype="float32")


def test_a_fresh_process_loads_it_without_the_compiler(exported: Exported) -> None:
    code = (
        "import sys\n"
        "from equic.runtime.export import load_pt2\n"
        "from equic.runtime.export.samples import sample_inputs\n"
        f"model = load_pt2({str(exported.path)!r})\n"
        "print(float(model(sample_inputs(model.plan, [3], seed=5))['energy'][0]))\n"
        "assert 'equic.compiler' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert float(done.stdout) == float(exported(sample_inputs(PLAN, [3], seed=5))["energy"][0])


def test_a_program_in_cpp_gives_the_same_numbers(exported: Exported, tmp_path: Path) -> None:
    """The example of examples/cpp, built here: energies and forces of a molecule, and an error of one line."""
    from ase.build import molecule
    from equic.runtime.predict import predict

    headers = Path(torch.__file__).parent / "include/torch/csrc/inductor/aoti_package/model_package_loader.h"
    if not headers.is_file() or shutil.which("g++") is None:
        pytest.skip("no C++ compiler, or a torch without headers")
    folder = Path(__file__).parents[2] / "examples/cpp"
    program = tmp_path / "evaluate"
    build = ["bash", str(folder / "build.sh"), sys.executable, str(program)]
    made = subprocess.run(build, capture_output=True, text=True, timeout=600)
    assert made.returncode == 0, made.stderr
    atoms = molecule("CH3OH")
    rows = zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True)
    lines = "\n".join(f"{symbol} {x!r} {y!r} {z!r}" for symbol, (x, y, z) in rows)
    (tmp_path / "m.xyz").write_text(f"{len(atoms)}\n\n{lines}\n")
    arguments = [str(program), str(exported.path), str(tmp_path / "m.xyz"), str(PLAN.system["cutoff"])]
    done = subprocess.run([*arguments, "H", "C", "O"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (expected,) = predict(exported, [atoms])
    energy, *forces = [[float(x) for x in line.split()[1:]] for line in done.stdout.splitlines()]
    assert energy[0] == pytest.approx(float(expected["energy"]), rel=1e-14)
    np.testing.assert_allclose(forces, expected["forces"], atol=1e-11)
    wrong = subprocess.run([*arguments, "H", "C"], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr == "error: the model does not know O\n"


def test_files_that_are_not_ours_are_refused(tmp_path: Path, exported: Exported) -> None:
    with pytest.raises(ExportError, match="is not a file"):
        load_pt2(tmp_path / "none.pt2")
    junk = tmp_path / "junk.pt2"
    junk.write_bytes(b"not a zip")
    with pytest.raises(ExportError, match="not a compiled package"):
        load_pt2(junk)
    cut = tmp_path / "cut.pt2"
    cut.write_bytes(exported.path.read_bytes()[:100_000])
    with pytest.raises(ExportError, match="damaged"):
        load_pt2(cut)
    foreign = tmp_path / "foreign.pt2"
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr("m/data/aotinductor/model/x_metadata.json", json.dumps({"AOTI_DEVICE_KEY": "cpu"}))
    with pytest.raises(ExportError, match="no metadata of equic"):
        load_pt2(foreign)
    newer = tmp_path / "newer.pt2"
    with zipfile.ZipFile(newer, "w") as archive:
        archive.writestr("m/x_metadata.json", json.dumps({"equic": json.dumps({"format": 99})}))
    with pytest.raises(ExportError, match="format 99"):
        load_pt2(newer)


def test_a_processor_without_the_instructions_is_refused(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    from equic.runtime.export import load

    monkeypatch.setattr(load, "_CAPABILITIES", {"AVX2": lambda: False})
    if exported.metadata["isa"] != "x86-64-v3":
        pytest.skip("not compiled for x86-64")
    with pytest.raises(ExportError, match="AVX2, which this one lacks"):
        load_pt2(exported.path)


def test_no_compiler_is_said_before_anything_is_done(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ExportError, match="no compiler `no-such-compiler`"):
        export_pt2(model, tmp_path / "a.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_package_with_other_numbers_never_takes_its_name(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiled file of one model beside the weights of another: as if the compiler had erred."""
    monkeypatch.setattr(package, "trace", lambda twin: Traced(None, exported.inputs, exported.outputs, {}))
    monkeypatch.setattr(
        package, "_compile", lambda traced, draft, *_, **__: shutil.copy(exported.path, draft)
    )
    other = build_module(PLAN, seed=4, kernels="reference")
    target = tmp_path / "a.pt2"
    target.write_bytes(b"what was there before")
    with pytest.raises(ExportError, match="differs from the model's by"):
        export_pt2(other, target)
    assert target.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_number_that_is_not_one_is_a_difference() -> None:
    """NaN compares false with everything: in whatever batch it is, it must not be overlooked."""
    good = [{"forces": torch.ones(2, 3)}, {"forces": torch.ones(1, 3)}]
    for case in (0, 1):
        bad = [{"forces": batch["forces"].clone()} for batch in good]
        bad[case]["forces"][0, 1] = float("nan")
        worst = selfcheck._differences(good, bad, {"forces": 1.0})
        assert not worst["forces"] <= 1e9
        with pytest.raises(ExportError, match="the model itself"):
            selfcheck._scales(bad)
    with pytest.raises(ExportError, match="of shape"):
        selfcheck._differences(good, list(reversed(good)), {"forces": 1.0})


def test_wrong_arguments(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"does not end in \.pt2"):
        export_pt2(model, tmp_path / "a.onnx")
    with pytest.raises(ExportError, match="float32 or float64"):
        export_pt2(model, tmp_path / "a.pt2", dtype="bfloat16")
    with pytest.raises(ExportError, match="must be plain JSON"):
        export_pt2(model, tmp_path / "a.pt2", meta={"x": float("nan")})


def test_sizes_of_the_trace_clash_with_nothing() -> None:
    """Equal sizes would be traced as one, and small ones leave a guard in the program.

    inductor multiplies out a map from one number where both factors hold 32 numbers or fewer in all, and keeps
    that as a bound on the number of rows.
    """
    inputs, sizes = trace_inputs(PLAN, {37, 43, 53})
    assert len(set(sizes.values())) == 3
    assert min(sizes.values()) > 32
    assert not set(sizes.values()) & {37, 43, 53}
    assert inputs["positions"].shape == (sizes["atoms"], 3)


def test_sizes_stay_free_in_the_trace(reference: Model) -> None:
    traced = trace(reference)
    bounds = {str(symbol): bound for symbol, bound in traced.program.range_constraints.items()}
    assert len(bounds) == 3
    assert sorted(int(bound.lower) for bound in bounds.values()) == [0, 1, 1]
    assert min(int(bound.upper) for bound in bounds.values()) >= 10**6


def test_phase_space_in_float32(tmp_path: Path) -> None:
    plan = hnn_plan(dim=4)
    model = build_module(plan, seed=1, dtype=torch.float32)
    exported = load_pt2(export_pt2(model, tmp_path / "hnn.pt2", dtype="float32"))
    assert exported.dtype is torch.float32
    generator = torch.Generator().manual_seed(0)
    for batch in (1, 5, 2000):
        states = torch.randn(batch, 4, generator=generator, dtype=torch.float64)
        for given in (states, states.float()):
            assert largest_difference(model, exported, {"state": given}) < 1e-5
    with pytest.raises(ExportError, match="has shape"):
        exported({"state": torch.zeros(3, 2, dtype=torch.float64)})
    with pytest.raises(ExportError, match="`state` is int64"):
        exported({"state": torch.zeros(3, 4, dtype=torch.int64)})
