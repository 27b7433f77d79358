"""What every section of the language is made of: closed mappings, and numbers with their bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Block(BaseModel):
    """A mapping of the spec: closed keys, frozen values."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# Strict: a quoted number is a mistake that pydantic would forgive.
Positive = Annotated[float, Field(gt=0, strict=True)]
NotNegative = Annotated[float, Field(ge=0, strict=True)]
Fraction = Annotated[float, Field(gt=0, lt=1, strict=True)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
