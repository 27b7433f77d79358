"""`equic show --emit torch`: the emitted source computes the same numbers, with torch and nothing else."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from equic.compiler.language.presets import preset_names
from equic.runtime.build import build_module
from equic.runtime.emit import emit_torch
from equic.runtime.emit.definitions import Definitions
from equic.runtime.emit.frozen import Freezer
from equic.runtime.errors import ArtifactError
from equic.runtime.layers.radial import envelope_of
from equic.runtime.plan import Plan
from equic.runtime.testing.plans import hnn_plan, mace_plan, pairwise_plan

from ..small_specs import compiled, inputs_for, preset_text, with_statistics

PLANS = {
    name: (lambda name=name: Plan.from_json(compiled(preset_text(name)).plan)) for name in preset_names()
}
PLANS |= {
    "mace relaxed": lambda: mace_plan(mode=("relaxed", 0.3)),
    "hnn": lambda: hnn_plan(dim=2, separable=True),
    "pairwise_energy of three": pairwise_plan,
}


def emitted(plan):
    module = ModuleType("emitted")
    sys.modules["emitted"] = module  # dataclasses look their module up
    exec(compile(emit_torch(plan), "emitted.py", "exec"), vars(module))
    return module.Model()


@pytest.mark.parametrize("name", PLANS)
def test_the_emitted_module_gives_the_same_numbers(name):
    plan = PLANS[name]()
    torch.manual_seed(0)
    ours = with_statistics(build_module(plan, seed=4, dtype=torch.float64, kernels="reference"))
    theirs = emitted(plan)
    theirs.load_state_dict(ours.state_dict())
    inputs = inputs_for(plan)
    for got, want in ((theirs(inputs), ours(inputs)), (theirs.float()(inputs), ours.float()(inputs))):
        assert got.keys() == want.keys()
        for key, value in want.items():
            assert got[key].dtype == value.dtype
            torch.testing.assert_close(got[key], value, rtol=1e-12, atol=1e-12)


def test_the_emitted_module_can_be_trained():
    plan = mace_plan()
    ours = with_statistics(build_module(plan, seed=4, dtype=torch.float64, kernels="reference"))
    theirs = emitted(plan)
    theirs.load_state_dict(ours.state_dict())
    inputs = inputs_for(plan)
    for model in (ours, theirs):
        model(inputs, create_graph=True)["forces"].square().sum().backward()
    found = dict(theirs.named_parameters())
    for key, value in ours.named_parameters():
        if value.grad is not None:
            torch.testing.assert_close(found[key].grad, value.grad, rtol=1e-10, atol=1e-12)


ALONE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numpy", "equic", "scipy", "e3nn", "safetensors"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
import warnings; warnings.simplefilter("ignore")
import torch, runpy
Model = runpy.run_path(sys.argv[1])["Model"]
model = Model()
model.load_state_dict(torch.load(sys.argv[2]))
got, want = model(torch.load(sys.argv[3])), torch.load(sys.argv[4])
for key in want:
    torch.testing.assert_close(got[key], want[key], rtol=1e-12, atol=1e-12)
assert "numpy" not in sys.modules
"""


def test_it_runs_where_there_is_torch_alone(tmp_path: Path):
    plan = mace_plan()
    ours = with_statistics(build_module(plan, seed=4, dtype=torch.float64, kernels="reference"))
    inputs = inputs_for(plan)
    (tmp_path / "emitted.py").write_text(emit_torch(plan), encoding="utf-8")
    for name, value in (("weights", ours.state_dict()), ("inputs", inputs), ("outputs", ours(inputs))):
        torch.save(value, tmp_path / name)
    files = [str(tmp_path / name) for name in ("emitted.py", "weights", "inputs", "outputs")]
    run = subprocess.run([sys.executable, "-c", ALONE, *files], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_equal_names_of_two_modules_stay_apart():
    from equic.runtime.tables import spherical, wigner

    definitions = Definitions()
    names = [definitions.name_of(module._frozen) for module in (spherical, wigner)]
    assert names == ["_frozen", "_frozen_wigner"]
    assert [text.splitlines()[0].split("(")[0] for text in definitions.texts()[-2:]] == [
        f"def {n}" for n in names
    ]
    names += [definitions.name_of(wigner.wigner_3j)]
    text = next(text for text in definitions.texts() if "def wigner_3j" in text)
    assert "return _frozen_wigner(values" in text


def test_a_lambda_is_written_with_what_it_closes_over():
    freezer = Freezer(Definitions())
    names = {"torch": torch}
    exec("from __future__ import annotations\nfrom torch import Tensor\n", names)
    for shape in ({"cosine": 0.5}, {"polynomial": 5}, None):
        ours = envelope_of(shape, 4.0)
        text = freezer.expression(ours, 0)
        definitions = freezer.definitions.texts()
        exec("\n".join([*freezer.definitions.import_lines(), *definitions]), names)
        r = torch.linspace(0, 5, 20, dtype=torch.float64)
        torch.testing.assert_close(eval(text, names)(r), ours(r), rtol=0, atol=0)


def test_what_has_no_source_is_refused():
    layer = torch.nn.Identity()
    layer.f = open
    with pytest.raises(ArtifactError, match="no name that source can use"):
        Freezer(Definitions()).expression(layer, 0)
    layer.f = [lambda x: x, lambda x: 2 * x][1]
    with pytest.raises(ArtifactError, match="cannot be told from others"):
        Freezer(Definitions()).expression(layer, 0)
