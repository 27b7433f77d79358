"""Prepared frames as sequences: read from disk when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from equic.runtime.data.frame import Frame
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan
from numpy.typing import NDArray

from .prepare import fingerprint, read_index, wanted
from .shards import Arrays, check_shard, frame_at, map_shard


class Store:
    """One prepared file: its shards, mapped into memory when a frame of theirs is first asked for."""

    def __init__(self, place: Path, index: Mapping[str, Any], species: Sequence[str]) -> None:
        from ase.data import atomic_numbers

        self.place = place
        self.index = index
        self.starts = np.cumsum([0, *(shard["frames"] for shard in index["shards"])])
        self.place_of = np.full(256, -1, dtype=np.int64)
        for k, symbol in enumerate(species):
            self.place_of[atomic_numbers[symbol]] = k
        self._shards: dict[int, Arrays] = {}

    def __getstate__(self) -> dict[str, Any]:
        # another process maps the files itself
        return {**self.__dict__, "_shards": {}}

    def __len__(self) -> int:
        return int(self.starts[-1])

    def shard(self, k: int) -> Arrays:
        """The arrays of shard k."""
        if k not in self._shards:
            self._shards[k] = map_shard(self.place / f"{k:05d}", self.index["shards"][k]["files"])
        return self._shards[k]

    def frame(self, row: int) -> Frame:
        """The frame in this row."""
        k = int(np.searchsorted(self.starts, row, side="right")) - 1
        per_atom = frozenset(self.index["per_atom"])
        return frame_at(
            self.shard(k),
            row - int(self.starts[k]),
            self.place_of,
            self.index["words"],
            self.index["name"],
            per_atom,
        )

    def column(self, name: str) -> NDArray[Any]:
        """A value of every frame, such as `number` or `print`, or how many atoms or edges it has."""
        if name in ("atoms", "pairs"):
            return np.concatenate([np.diff(self.shard(k)[name]) for k in range(len(self.index["shards"]))])
        return np.concatenate([self.shard(k)[name] for k in range(len(self.index["shards"]))])

    def isolated(self) -> tuple[Frame, ...]:
        """The isolated atoms that were found in the file."""
        return tuple(
            frame_at(
                map_shard(self.place / one["folder"], one["files"]),
                0,
                self.place_of,
                self.index["words"],
                self.index["name"],
                frozenset(one["per_atom"]),
            )
            for one in self.index["isolated"]
        )

    def check(self) -> None:
        """Compare the checksums of all files.

        Raises:
            DataError: one of them is damaged.
        """
        for k, shard in enumerate(self.index["shards"]):
            check_shard(self.place / f"{k:05d}", shard["files"])


class PreparedFrames(Sequence[Frame]):
    """Some frames of a store, in some order."""

    def __init__(self, store: Store, rows: NDArray[np.int64] | None = None) -> None:
        self.store = store
        self.rows = np.arange(len(store)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> PreparedFrames: ...
    def __getitem__(self, index: int | slice) -> Frame | PreparedFrames:
        if isinstance(index, slice):
            return PreparedFrames(self.store, self.rows[index])
        return self.store.frame(int(self.rows[index]))

    def __iter__(self) -> Iterator[Frame]:
        return (self.store.frame(int(row)) for row in self.rows)

    def subset(self, places: NDArray[np.int64]) -> PreparedFrames:
        """The frames at these places, in this order; none is read."""
        return PreparedFrames(self.store, self.rows[places])

    def sizes(self, what: str) -> NDArray[np.int64]:
        """Atoms or edges of every frame."""
        return self.store.column("atoms" if what == "atoms" else "pairs")[self.rows]

    def groups(self) -> list[str]:
        """The group of every frame."""
        words = self.store.index["words"]["group"]
        return [words[k] for k in self.store.column("group")[self.rows]]

    def sources(self) -> list[str]:
        """The name of every frame, `train.xyz:frame 17`."""
        name = self.store.index["name"]
        return [f"{name}:frame {number}" for number in self.store.column("number")[self.rows]]

    def fingerprints(self) -> list[bytes]:
        """The fingerprint of every structure."""
        return [row.tobytes() for row in self.store.column("print")[self.rows]]


def open_store(plan: Plan, spec: Mapping[str, Any], place: Path) -> Store:
    """The prepared form of the file that `spec` names; its checksums are compared.

    Raises:
        DataError: it is not prepared, or was from another file, with other labels, species or cutoff; damage.
    """
    index = read_index(place)
    again = "run `equic prepare` with this spec again"
    if index is None:
        raise DataError(f"{place} holds no prepared data", help="run `equic prepare SPEC`")
    now: dict[str, Any] = wanted(plan, spec)
    if Path(spec["path"]).exists():
        now = fingerprint(plan, spec)
    for key, value in now.items():
        if index["key"].get(key) != value:
            words = {
                "bytes": "the file has changed since",
                "changed": "the file has changed since",
                "path": f"it was made from {index['key'].get('path')}",
            }.get(key, f"`{key}` was {index['key'].get(key)}, and is {value}")
            raise DataError(f"{place} was prepared for something else: {words}", help=again)
    store = Store(place, index, plan.system["species"])
    store.check()
    return store
