"""The section `train:` of a spec: how the weights are found."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .schema_parts import Block, Count, Flag, Fraction, NotNegative, Positive, Whole

# On squared errors in eV/atom, eV/Å and eV/Å^3: with equal weights an energy of 10 meV/atom would count as
# little as forces of 3 meV/Å, and stays biased by that much in short runs (measured on ethanol).
LOSS_WEIGHTS = {"energy": 30.0, "forces": 10.0, "stress": 1000.0}


class LossTerm(Block):
    """The weight of a target's mean squared error (energies per atom); null is the usual one."""

    weight: NotNegative | None = Field(
        default=None,
        description="factor of its mean squared error; null: 30 energy, 10 forces, 1000 stress, else 1 over the "
        "variance of its labels",
    )
    per_atom: Flag | None = Field(
        default=None, description="divide by the number of atoms first; true for energies, else false"
    )


class Train(Block):
    """How the weights are found."""

    epochs: Count = Field(default=100, description="passes over the training set")
    batch: Count = Field(default=8, description="structures or states a step")
    learning_rate: Positive = Field(default=0.01, description="of the first steps")
    weight_decay: NotNegative = Field(default=0.0, description="pull of the weights to zero")
    optimizer: Literal["adam", "adamw", "amsgrad"] = Field(default="adamw", description="how weights move")
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        default="cosine", description="how the learning rate falls"
    )
    ema: Fraction | None = Field(
        default=None,
        description="decay of the running average of the weights, such as 0.99; none if not given",
    )
    seed: Whole = Field(default=0, description="of weights and batches")
    precision: Literal["float32", "float64"] = Field(
        default="float32", description="of weights and features; geometry and energies are float64 always"
    )
    clip: Positive | None = Field(default=10.0, description="largest norm of the gradient; null for no limit")
    patience: Count | None = Field(default=None, description="stop after so many epochs without improvement")
    loss: dict[str, LossTerm] = Field(default={}, description="target → its weight in the loss")
