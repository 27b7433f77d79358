"""Damaged artifacts: what disks, networks and hostile writers do to a file, each from one random generator."""

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# What a hostile writer puts in place of a value.
PALETTE: tuple[Any, ...] = (
    None, True, 0, 1, -1, 7, 2**31, 2**63, -(2**70), 1e-300, 1e300, 0.5, "", "x", "1x0e", "9999999x9o", "\x00", "é" * 9,
    [], [[]], [1, 2], {}, {"a": 1}, "../../etc/passwd", "energy",
)  # fmt: skip
NAMES = (
    "../plan.json",
    "/etc/passwd",
    "C:\\x",
    "plan.json/",
    "PLAN.JSON",
    "plan.json\x00.txt",
    "kernels/a.so",
    "",
    ".",
)


@dataclass(frozen=True, slots=True)
class Damaged:
    """The bytes of a damaged file, what was done, and whether its hashes were made good again."""

    kind: str
    data: bytes
    resealed: bool


class Damage:
    """An endless source of damaged files; the same files and seed give the same ones."""

    def __init__(self, files: list[Path], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.files = [path.read_bytes() for path in files]
        self.kinds: tuple[tuple[str, Callable[[bytes], bytes], bool], ...] = (
            ("flipped bits", self.flip, False),
            ("overwritten", self.overwrite, False),
            ("cut short", self.truncate, False),
            ("a piece lost", self.lose, False),
            ("a piece twice", self.repeat, False),
            ("two pieces exchanged", self.exchange, False),
            ("zip fields changed", self.fields, False),
            ("joined with another file", self.join, False),
            ("foreign entry", self.foreign, False),
            ("entry twice", self.twice, False),
            ("entry left out", self.leave_out, False),
            ("compressed bomb", self.bomb, False),
            ("entries of another file", self.mix, False),
            ("manifest edited", self.manifest, False),
            ("plan edited and resealed", self.plan, True),
            ("weights edited and resealed", self.weights, True),
        )

    def next(self) -> Damaged:
        """One file, and what became of it."""
        while True:
            sound = self.files[int(self.rng.integers(len(self.files)))]
            kind, change, resealed = self.kinds[int(self.rng.integers(len(self.kinds)))]
            data = change(sound)
            if data != sound:
                return Damaged(kind, data, resealed)

    # -- of bytes ------------------------------------------------------------------------------------------

    def _place(self, data: bytes) -> int:
        """Anywhere, or in the zip's own directory at the end, where the odd exceptions come from."""
        low = 0 if self.rng.random() < 0.6 else max(0, len(data) - 700)
        return int(self.rng.integers(low, len(data)))

    def flip(self, data: bytes) -> bytes:
        bad = bytearray(data)
        for _ in range(int(2 ** self.rng.integers(0, 6))):
            bad[self._place(data)] ^= 1 << int(self.rng.integers(8))
        return bytes(bad)

    def overwrite(self, data: bytes) -> bytes:
        at, size = self._place(data), int(2 ** self.rng.integers(0, 13))
        filler = bytes(size) if self.rng.random() < 0.5 else self.rng.bytes(size)
        return (data[:at] + filler + data[at + size :])[: len(data)]

    def truncate(self, data: bytes) -> bytes:
        return data[: self._place(data)]

    def lose(self, data: bytes) -> bytes:
        at, size = self._place(data), int(2 ** self.rng.integers(0, 13))
        return data[:at] + data[at + size :]

    def repeat(self, data: bytes) -> bytes:
        at, size = self._place(data), int(2 ** self.rng.integers(0, 13))
        return data[:at] + data[at : at + size] + data[at:]

    def exchange(self, data: bytes) -> bytes:
        a, b, c = sorted(self._place(data) for _ in range(3))
        return data[:a] + data[b:c] + data[a:b] + data[c:]

    def fields(self, data: bytes) -> bytes:
        """A header of the zip with a field of another value: sizes, offsets, methods, flags, counts."""
        marks = [i for sign in (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06") for i in _all(data, sign)]
        at = marks[int(self.rng.integers(len(marks)))] + 4 + 2 * int(self.rng.integers(0, 20))
        value = int(
            self.rng.choice([0, 1, 8, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, int(self.rng.integers(2**32))])
        )
        size = int(self.rng.choice([2, 4]))
        packed = struct.pack("<I", value)[:size]
        return data[:at] + packed + data[at + size :]

    def join(self, data: bytes) -> bytes:
        other = self.files[int(self.rng.integers(len(self.files)))]
        junk = self.rng.bytes(int(self.rng.integers(1, 2000)))
        return [data + other, junk + data, data + junk, other[:-30] + data][int(self.rng.integers(4))]

    # -- of entries ----------------------------------------------------------------------------------------

    def foreign(self, data: bytes) -> bytes:
        name = NAMES[int(self.rng.integers(len(NAMES)))]
        return _pack([*_entries(data), (name, self.rng.bytes(int(self.rng.integers(0, 100))))])

    def twice(self, data: bytes) -> bytes:
        entries = _entries(data)
        name, content = entries[int(self.rng.integers(len(entries)))]
        return _pack([*entries, (name, content if self.rng.random() < 0.5 else self.rng.bytes(20))])

    def leave_out(self, data: bytes) -> bytes:
        entries = _entries(data)
        entries.pop(int(self.rng.integers(len(entries))))
        return _pack(entries)

    def bomb(self, data: bytes) -> bytes:
        entries = _entries(data)
        at = int(self.rng.integers(len(entries)))
        entries[at] = (entries[at][0], bytes(int(2 ** self.rng.integers(10, 26))))
        return _pack(entries, zipfile.ZIP_DEFLATED)

    def mix(self, data: bytes) -> bytes:
        other = dict(_entries(self.files[int(self.rng.integers(len(self.files)))]))
        return _pack(
            [
                (name, other.get(name, content) if self.rng.random() < 0.3 else content)
                for name, content in _entries(data)
            ]
        )

    # -- of what the entries say ---------------------------------------------------------------------------

    def manifest(self, data: bytes) -> bytes:
        return _pack([(n, self._edited(c) if n == "manifest.json" else c) for n, c in _entries(data)])

    def plan(self, data: bytes) -> bytes:
        return self._resealed(data, "plan.json", self._edited(dict(_entries(data))["plan.json"]))

    def weights(self, data: bytes) -> bytes:
        """A safetensors file with another header, or with other bytes."""
        content = dict(_entries(data))["weights.safetensors"]
        size = struct.unpack("<Q", content[:8])[0]
        if self.rng.random() < 0.5:
            header = self._edited(content[8 : 8 + size])
            given = (
                len(header) if self.rng.random() < 0.8 else int(self.rng.choice([0, 2**40, 2**63, size + 1]))
            )
            changed = struct.pack("<Q", given) + header + content[8 + size :]
        else:
            changed = [self.flip, self.truncate, self.lose, self.overwrite][int(self.rng.integers(4))](
                content
            )
        return self._resealed(data, "weights.safetensors", changed)

    def _resealed(self, data: bytes, name: str, content: bytes) -> bytes:
        import hashlib

        entries = [(n, content if n == name else c) for n, c in _entries(data)]
        manifest = json.loads(dict(entries)["manifest.json"])
        manifest["entries"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        sealed = (json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
        return _pack([(n, sealed if n == "manifest.json" else c) for n, c in entries])

    def _edited(self, text: bytes) -> bytes:
        """JSON with one to three values replaced, removed or doubled."""
        document = json.loads(text)
        for _ in range(int(self.rng.integers(1, 4))):
            places = list(_places(document))
            holder, key = places[int(self.rng.integers(len(places)))]
            match int(self.rng.integers(4)):
                case 0 if isinstance(holder, dict):
                    del holder[key]
                case 1 if isinstance(holder, list):
                    holder.insert(key, holder[key])
                case 2:
                    other, name = places[int(self.rng.integers(len(places)))]
                    holder[key] = json.loads(json.dumps(other[name]))
                case _:
                    holder[key] = PALETTE[int(self.rng.integers(len(PALETTE)))]
            if not isinstance(document, dict) or not list(_places(document)):
                break
        return json.dumps(document, indent=1, sort_keys=True).encode()


def _all(data: bytes, sign: bytes) -> list[int]:
    found, at = [], data.find(sign)
    while at >= 0:
        found.append(at)
        at = data.find(sign, at + 1)
    return found


def _entries(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def _pack(entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns about the duplicate names that are wanted here
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, content in entries:
                archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return buffer.getvalue()


def _places(document: Any) -> Any:
    """Every (container, key) of a JSON document."""
    if isinstance(document, dict | list):
        for key in list(document) if isinstance(document, dict) else range(len(document)):
            yield document, key
            yield from _places(document[key])
