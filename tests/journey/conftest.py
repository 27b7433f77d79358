"""What mace-torch wrote of its models, as dumps that need no mace-torch to be imported."""

import json
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).parents[1] / "oracles/mace/golden.npz"


def _dump(name):
    """One model of the golden file as a dump holds it: `structures/I/...` and `answers/...` beside the weights."""
    with np.load(GOLDEN, allow_pickle=False) as golden:
        everything = {key: golden[key] for key in golden.files}
    prefix = f"models/{name}/"
    found = {key.removeprefix(prefix): value for key, value in everything.items() if key.startswith(prefix)}
    group = f"structures/{found.pop('structures')}/"
    lmax = max(int(c) for c in json.loads(str(found["config"]))["harmonics"] if c.isdigit())
    for key, value in everything.items():
        if key.startswith(group):
            found[f"structures/{key.removeprefix(group)}"] = value
        if key.startswith(f"symmetric/{lmax}/"):
            found[f"symmetric/{key.split('/', 2)[2]}"] = value
    return found


@pytest.fixture(scope="session")
def mace_dump():
    """The arrays of a model of the golden file, by its name."""
    return _dump
