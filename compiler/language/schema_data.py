"""The section `data:` of a spec: files of frames or states, and how they are split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from .codes import Code
from .diagnostics import SpecValueError
from .scalar_types import UnitText
from .schema_parts import Block, Count, Flag, Fraction, Whole
from .wording import clip


class Label(Block):
    """Where a file keeps the values of a target."""

    key: str = Field(description="its name in the file")
    unit: UnitText | None = Field(
        default=None, description="its unit in the file; that of the target if not given"
    )
    virial: Flag = Field(
        default=False,
        description="of a stress: the file has the virial, −V times the stress, in units of energy",
    )


class DataSet(Block):
    """A file of frames (or arrays); `labels` says which key of the file holds which target."""

    path: str = Field(
        description="relative to the spec: a file in any format of ASE, a folder of DeePMD systems, npz or HDF5"
    )
    labels: dict[str, Label] | None = Field(
        default=None, description="target → key and unit in the file; those of `train` if not given"
    )
    state: str = Field(default="z", description="phase_space: the array of states [states, D]")


class Drawn(Block):
    """A part of the training frames in which no group is torn apart: all frames of a molecule, say."""

    fraction: Fraction | None = Field(default=None, description="of the training frames")
    count: Count | None = Field(default=None, description="of training frames, about")
    group: str = Field(description="a key of the file; frames with the same value stay together")

    @model_validator(mode="after")
    def _one(self) -> Drawn:
        if (self.fraction is None) == (self.count is None):
            raise SpecValueError(
                "a part is a `fraction` or a `count`",
                help=f"write `{{fraction: 0.1, group: {self.group}}}`",
                code=Code.CONFLICTING_KEYS if self.count else Code.MISSING_KEY,
            )
        return self


def _split_tag(value: object) -> str:
    if isinstance(value, Drawn) or (isinstance(value, dict) and "path" not in value and "group" in value):
        return "@drawn"
    if isinstance(value, (dict, DataSet)):
        return "@set"
    return "@count" if isinstance(value, int) and not isinstance(value, bool) else "@fraction"


Split = Annotated[
    Annotated[Fraction, Tag("@fraction")]
    | Annotated[Count, Tag("@count")]
    | Annotated[DataSet, Tag("@set")]
    | Annotated[Drawn, Tag("@drawn")],
    Discriminator(_split_tag),
]


class Data(Block):
    """Where frames come from; `validation` is a fraction or number of training frames, or a set."""

    train: DataSet = Field(description="what is learned from")
    validation: Split = Field(
        default=0.1,
        description="what chooses the best epoch: a fraction or number of training frames, or a set",
    )
    test: Split | None = Field(
        default=None, description="what is measured at the end: a fraction, a number, or a set"
    )
    others: dict[str, DataSet] = Field(default={}, description="further sets that are measured")
    isolated_atoms: dict[str, float] | Literal["least_squares", "frames"] = Field(
        default="least_squares",
        description="energies of free atoms: fitted, of the IsolatedAtom frames, or given in eV",
    )
    seed: Whole = Field(default=0, description="of the random split")
    prepared: str | None = Field(
        default=None, description="a folder that `equic prepare` fills, and training streams from"
    )

    @field_validator("isolated_atoms", mode="before")
    @classmethod
    def _plain(cls, value: object) -> object:
        if isinstance(value, (dict, str)):
            return value
        raise SpecValueError(
            f"`{clip(str(value))}` are no isolated-atom energies",
            help="write `least_squares`, `frames`, or a mapping `{H: -13.6}` in eV",
        )
