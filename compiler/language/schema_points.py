"""What may be known of points beside their positions, and the system of points with declared fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from ..ir.ops.base import IrrepsField
from .codes import Code
from .diagnostics import SpecValueError
from .scalar_types import UnitText
from .schema_parts import Block, Count, Positive
from .wording import clip

# names that the graph, its inputs and its statistics use themselves
RESERVED = frozenset(
    {
        *("positions", "species", "state", "cell", "system", "edges", "shifts", "volume", "strain"),
        *("average_neighbors", "edge_length", "vectors", "lengths", "radial", "harmonics", "features"),
    }
)


def check_names(names: Iterable[str], *, reserved: frozenset[str] = frozenset()) -> None:
    """Refuse what could not be a value of a graph, or a column of a file."""
    for name in names:
        if not name.isidentifier():
            raise SpecValueError(
                f"`{clip(name)}` is not a name",
                help="use letters, digits and `_`, and start with a letter",
                code=Code.BAD_NAME,
                at=(name,),
            )
        if name in reserved:
            raise SpecValueError(
                f"`{name}` is the name of something else",
                help=f"give it another name, such as `{name}_`",
                code=Code.NAME_TAKEN,
                at=(name,),
            )


class InputField(Block):
    """A quantity that is known for every system, or for every node, and that the model reads."""

    per: Literal["system", "node"] = Field(description="one value for a system, or for every node")
    rep: IrrepsField = Field(description="how it transforms: `0e` a charge, `1o` a field or a velocity, ...")
    unit: UnitText | None = Field(default=None, description="its unit in the data")
    key: str | None = Field(default=None, description="its name in the data, if that is another")


class PairsWithin(Block):
    """Particles closer than a distance interact."""

    within: Positive = Field(description="how far a particle sees, in the unit of positions")


class PairsNearest(Block):
    """Every particle reads its nearest ones."""

    nearest: Count = Field(description="how many neighbours each has; a step in them is a jump of the model")


def _pairs_tag(value: object) -> str:
    if isinstance(value, dict):
        return "@nearest" if "nearest" in value else "@within"
    if isinstance(value, Block):
        return "@nearest" if isinstance(value, PairsNearest) else "@within"
    return "@all"


Interactions = Annotated[
    Annotated[Literal["all"], Tag("@all")]
    | Annotated[PairsWithin, Tag("@within")]
    | Annotated[PairsNearest, Tag("@nearest")],
    Discriminator(_pairs_tag),
]

AtomInteractions = Annotated[
    Annotated[Literal["all"], Tag("@all")] | Annotated[PairsNearest, Tag("@nearest")],
    Discriminator(lambda value: "@nearest" if isinstance(value, (dict, Block)) else "@all"),
]


class ParticlesSystem(Block):
    """Points in space with declared fields, such as bodies with charges and velocities."""

    kind: Literal["particles"] = Field(description="points with declared fields")
    inputs: dict[str, InputField] = Field(default={}, description="name → what is known of the particles")
    interactions: Interactions = Field(
        default="all", description="which pairs see each other: `all`, `{within: 3.0}` or `{nearest: 8}`"
    )
    unit: UnitText | None = Field(default=None, description="unit of positions; plain numbers if not given")
    types: tuple[str, ...] = Field(
        default=(),
        description="names of the kinds of particles, where there are several; `types` in the data",
    )

    @field_validator("inputs")
    @classmethod
    def _names(cls, inputs: dict[str, InputField]) -> dict[str, InputField]:
        check_names(inputs, reserved=RESERVED)
        return inputs

    @field_validator("types")
    @classmethod
    def _once(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        for k, name in enumerate(types):
            if name in types[:k]:
                raise SpecValueError(
                    f"the type `{clip(name)}` is listed twice",
                    help="list every type once",
                    code=Code.LISTED_TWICE,
                    at=(k,),
                )
        return types

    @property
    def reach(self) -> float | None:
        """How far a particle sees; None where no distance ends that."""
        return self.interactions.within if isinstance(self.interactions, PairsWithin) else None

    @property
    def species(self) -> tuple[str, ...]:
        """The kinds of particles: one where none are declared."""
        return self.types or ("particle",)
