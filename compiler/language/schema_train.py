"""The section `train:` of a spec: how the weights are found."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from .codes import Code
from .diagnostics import SpecValueError
from .schema_parts import Block, Count, Flag, Fraction, NotNegative, Positive, Whole

# On squared errors in eV/atom, eV/Å and eV/Å^3: with equal weights an energy of 10 meV/atom would count as
# little as forces of 3 meV/Å, and stays biased by that much in short runs (measured on ethanol).
LOSS_WEIGHTS = {"energy": 30.0, "forces": 10.0, "stress": 1000.0}


class WeightSwitch(Block):
    """A weight that changes once, such as a second stage that cares for energies."""

    from_: NotNegative = Field(alias="from", description="the weight of the first steps")
    to: NotNegative = Field(description="the weight afterwards")
    at: Fraction = Field(default=0.75, description="after which part of the run it changes")


def _weight_tag(value: object) -> str:
    return "@switch" if isinstance(value, (dict, WeightSwitch)) else "@number"


Weight = Annotated[
    Annotated[NotNegative, Tag("@number")] | Annotated[WeightSwitch, Tag("@switch")],
    Discriminator(_weight_tag),
]


class LossTerm(Block):
    """One target's part of the loss: a weight, and what is taken of each error (energies per atom)."""

    weight: Weight | None = Field(
        default=None,
        description="factor of its mean; null: 30 energy, 10 forces, 1000 stress, else 1 over the variance of its "
        "labels",
    )
    per_atom: Flag | None = Field(
        default=None, description="divide by the number of atoms first; true for energies, else false"
    )
    form: Literal["mse", "huber", "l1"] = Field(
        default="mse", description="of each error e: e², |e|, or e² up to `delta` and straight beyond"
    )
    delta: Positive | None = Field(
        default=None, description="of `huber`: where it becomes straight, in the unit of the error"
    )

    @model_validator(mode="after")
    def _delta_of_huber(self) -> LossTerm:
        if (self.form == "huber") != (self.delta is not None):
            words = "needs `delta`" if self.form == "huber" else "alone has a `delta`"
            raise SpecValueError(
                f"`form: huber` {words}",
                help="write `form: huber, delta: 0.01`, in the unit of the error",
                code=Code.MISSING_KEY if self.form == "huber" else Code.CONFLICTING_KEYS,
            )
        return self


class BatchSize(Block):
    """Structures of similar size together, as many as stay within a number of atoms, or of edges."""

    atoms: Count | None = Field(default=None, description="at most so many atoms a step")
    edges: Count | None = Field(default=None, description="at most so many pairs of neighbours a step")

    @model_validator(mode="after")
    def _one(self) -> BatchSize:
        if (self.atoms is None) == (self.edges is None):
            raise SpecValueError(
                "a batch is limited by `atoms` or by `edges`",
                help="write `batch: {atoms: 500}`, or a number of structures",
                code=Code.CONFLICTING_KEYS if self.atoms else Code.MISSING_KEY,
            )
        return self


def _batch_tag(value: object) -> str:
    return "@size" if isinstance(value, (dict, BatchSize)) else "@count"


Batch = Annotated[
    Annotated[Count, Tag("@count")] | Annotated[BatchSize, Tag("@size")], Discriminator(_batch_tag)
]


class Train(Block):
    """How the weights are found."""

    epochs: Count = Field(default=100, description="passes over the training set")
    batch: Batch = Field(
        default=8, description="structures or states a step, or `{atoms: 500}`, or `{edges: 20000}`"
    )
    accumulate: Count = Field(
        default=1, description="parts in which a batch is computed, to save memory; the gradient is the same"
    )
    activation_checkpointing: Flag = Field(
        default=False,
        description="values of edges are computed again in the backward pass: half the memory where a batch has "
        "thousands of edges, 1.4 to 1.8 times the time, the same gradient",
    )
    learning_rate: Positive = Field(default=0.01, description="of the first steps, after the warm-up")
    weight_decay: NotNegative = Field(default=0.0, description="pull of the weights to zero")
    optimizer: Literal["adam", "adamw", "amsgrad", "muon", "schedule_free"] = Field(
        default="adamw",
        description="how weights move; muon: of matrices, and adamw of the rest; schedule_free: adamw at a constant "
        "rate, with an average of its own",
    )
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        default="cosine", description="how the learning rate falls"
    )
    warmup: NotNegative = Field(
        default=0.0, description="epochs in which the learning rate rises in a straight line"
    )
    ema: Fraction | None = Field(
        default=None,
        description="decay of the running average of the weights, such as 0.99; none if not given",
    )
    seed: Whole = Field(default=0, description="of weights and batches")
    precision: Literal["float32", "float64", "mixed"] = Field(
        default="float32",
        description="of weights and features; geometry and energies are float64 always. mixed: float32, with products "
        "of matrices in bfloat16 during the steps of training",
    )
    clip: Positive | None = Field(default=10.0, description="largest norm of the gradient; null for no limit")
    patience: Count | None = Field(default=None, description="stop after so many epochs without improvement")
    loss: dict[str, LossTerm] = Field(default={}, description="target → its part of the loss")
    from_: str | None = Field(
        default=None, alias="from", description="an artifact (.equic) whose weights are trained on"
    )
    only: Literal["heads"] | tuple[str, ...] | None = Field(
        default=None, description="the steps that are trained: `heads`, or names such as `layer2.*`"
    )
    freeze: tuple[str, ...] = Field(default=(), description="names of steps that are not, such as `layer1.*`")

    @model_validator(mode="after")
    def _whole(self) -> Train:
        if isinstance(self.batch, BatchSize) and self.accumulate > 1:
            raise SpecValueError(
                "`accumulate` divides a batch of so many structures, not of atoms or edges",
                help="write `batch: 32`, or a smaller limit",
                code=Code.CONFLICTING_KEYS,
                at=("accumulate",),
            )
        if self.optimizer == "schedule_free" and self.schedule != "constant":
            raise SpecValueError(
                "`schedule_free` takes the place of a schedule: its rate does not fall",
                help="write `schedule: constant`; `warmup` may stay",
                code=Code.CONFLICTING_KEYS,
                at=("optimizer",),
            )
        if self.optimizer == "schedule_free" and self.ema is not None:
            raise SpecValueError(
                "`schedule_free` averages the weights itself",
                help="remove `ema`",
                code=Code.CONFLICTING_KEYS,
                at=("ema",),
            )
        return self
