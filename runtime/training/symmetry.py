"""How far a model in training is from the symmetries that it need not keep.

    A = RMS(f(g x) − g f(x)) / RMS(f(x))     over a few frames, each turned once, for fixed random g

f are the forces, or the energies less their mean where there are none. Measured in the model's own precision,
as a curve to look at; the certificate is the one that counts.
"""

import numpy as np
import torch
from equic.runtime.build import Model
from scipy.spatial.transform import Rotation
from torch import Tensor

from .batches import Batch

FRAMES = 8
_INPUTS = {"positions", "cell", "shifts", "species", "system", "edges"}


class SymmetryWatch:
    """The symmetry errors of a model on the first frames of a batch; nothing where all is proven."""

    def __init__(self, model: Model, batch: Batch | None) -> None:
        self.model = model
        self.batch = batch
        loose = {claim.factor for claim in model.plan.claims if claim.verdict != "exact"}
        self.factors = [factor for factor in ("SO(3)", "inversion") if loose & {factor, "O(3)"}]
        target = model.plan.derivative("positions")
        self.target = target if target in model.plan.outputs else model.plan.energy
        usable = batch is not None and model.plan.kind == "atoms" and self.target in model.plan.outputs
        if not usable or batch is None or not set(batch.inputs) <= _INPUTS:
            self.factors = []

    def errors(self) -> dict[str, float]:
        """A for every factor that is not proven."""
        if not self.factors or self.batch is None:
            return {}
        training = self.model.training
        self.model.eval()
        with torch.no_grad():
            plain = self.model(self.batch.inputs)[self.target].double()
            found = {factor: self._error(plain, factor) for factor in self.factors}
        self.model.train(training)
        return found

    def _error(self, plain: Tensor, factor: str) -> float:
        assert self.batch is not None
        inputs = dict(self.batch.inputs)
        count = len(inputs["cell"])
        matrices = (
            Rotation.random(count, rng=np.random.default_rng(0)).as_matrix()
            if factor == "SO(3)"
            else np.broadcast_to(-np.eye(3), (count, 3, 3)).copy()
        )
        g = torch.from_numpy(matrices).to(inputs["positions"])
        of_atom = g[inputs["system"]]
        inputs["positions"] = torch.einsum("nij,nj->ni", of_atom, inputs["positions"])
        inputs["cell"] = torch.einsum("sij,skj->ski", g, inputs["cell"])
        turned = self.model(inputs)[self.target].double()
        if plain.ndim == 2:
            expected, scale = torch.einsum("nij,nj->ni", of_atom.double(), plain), plain
        else:
            expected, scale = plain, plain - plain.mean()
        size = float(scale.square().mean().sqrt())
        return float((turned - expected).square().mean().sqrt()) / size if size > 0 else 0.0
