"""An artifact needs no compiler: it predicts, certifies and trains further where none can be imported."""

import subprocess
import sys
from pathlib import Path

from equic.runtime.artifact import save_artifact

import equic

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = """
import sys
sys.modules["equic.compiler"] = None          # any import of it now raises ImportError
from pathlib import Path
import ase.io, torch, equic
from equic.runtime.certify import verify_file
from equic.runtime.training import train

path, data, runs = sys.argv[1:]
loaded = equic.load(path, device="cpu")
frames = ase.io.read(data, index=":2")
print(float(loaded.predict(frames)[0]["energy"]))
frames[0].calc = loaded.calculator()
print(frames[0].get_forces().shape)
assert verify_file(path, frames=frames, dtypes=("float64",)).ok
result = train(loaded.plan, directory=Path(runs) / "1", model=loaded.model, progress=False, device="cpu")
assert result.artifact.exists()
assert not any(name.startswith("equic.compiler.") for name in sys.modules)
"""


def test_an_artifact_lives_without_the_compiler(tmp_path):
    small = ["model.channels=4", "model.layers=1", "model.radial=[8]", "train.epochs=1", "data.test=20"]
    spec = EXAMPLES / "01_ethanol/spec.yaml"
    model = equic.compile(spec, small)
    path = tmp_path / "model.equic"
    save_artifact(path, model, spec_text=spec.read_text(encoding="utf-8"))
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, path, EXAMPLES / "data/ethanol.xyz", tmp_path / "runs"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "(9, 3)" in run.stdout
