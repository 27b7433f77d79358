"""The certificate: what was measured on a model, and whether it keeps what was claimed."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from equic.runtime.errors import ArtifactError

Status = Literal["holds", "fails", "reported", "not applicable"]
STATUSES: tuple[Status, ...] = ("holds", "fails", "reported", "not applicable")
CERTIFICATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Item:
    """One property, measured in one dtype.

    `value` is the measured error, in `unit` ("relative" where it is a ratio), and `tolerance` what the claim
    allows it to be; either is None where there is none. `measure` says what was measured and relative to
    what, `reason` why the status is what it is where the numbers alone do not say it.
    """

    name: str
    dtype: str
    value: float | None
    tolerance: float | None
    unit: str
    status: Status
    measure: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Every item measured on a model, with what was measured on (`meta`).

    Example:
        >>> item = Item("permutation", "float64", 3e-16, 1e-10, "relative", "holds", "energy and forces")
        >>> certificate = Certificate((item,), {"seed": 0})
        >>> certificate.ok, Certificate.from_json(certificate.to_json()) == certificate
        (True, True)
    """

    items: tuple[Item, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """No claim fails. (A claim that could not be measured is "not applicable", and says why.)"""
        return all(item.status != "fails" for item in self.items)

    @property
    def failures(self) -> tuple[Item, ...]:
        """The items whose claim does not hold."""
        return tuple(item for item in self.items if item.status == "fails")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the items, each once, in order."""
        return tuple(dict.fromkeys(item.name for item in self.items))

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes that were measured, each once, in order."""
        return tuple(dict.fromkeys(item.dtype for item in self.items))

    def item(self, name: str, dtype: str) -> Item:
        """The item of this name in this dtype.

        Raises:
            KeyError: there is none.
        """
        for item in self.items:
            if item.name == name and item.dtype == dtype:
                return item
        raise KeyError(f"no item `{name}` in {dtype}; there are: {', '.join(self.names)}")

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps` (infinite and undefined values as strings); `from_json` reads it."""
        items = [{key: _write_number(value) for key, value in asdict(item).items()} for item in self.items]
        meta = json.loads(json.dumps(dict(self.meta)))
        return {"version": CERTIFICATE_VERSION, "ok": self.ok, "meta": meta, "items": items}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Certificate":
        """Read what `to_json` wrote.

        Raises:
            ArtifactError: another version, unknown or missing keys, or an unknown status.
        """
        if data.get("version") != CERTIFICATE_VERSION:
            raise ArtifactError(
                f"the certificate has version {data.get('version')!r}, not {CERTIFICATE_VERSION}",
                help="measure again with `equic verify FILE`",
            )
        names = {entry.name for entry in fields(Item)}
        items = []
        for number, entry in enumerate(data["items"]):
            if set(entry) != names:
                raise ArtifactError(
                    f"certificate item {number} has the keys {sorted(entry)}, not {sorted(names)}"
                )
            if entry["status"] not in STATUSES:
                raise ArtifactError(f"certificate item {number} has the unknown status `{entry['status']}`")
            numbers = {key: _read_number(entry[key]) for key in ("value", "tolerance")}
            items.append(Item(**{**entry, **numbers}))
        return cls(tuple(items), dict(data["meta"]))


def _write_number(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _read_number(value: Any) -> float | None:
    return None if value is None else float(value)
