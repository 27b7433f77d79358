"""The journal file: opened after its damage is mended."""

import json
import os
from pathlib import Path
from typing import Any

from .errors import TuningError


def open_journal(path: Path) -> tuple[Any, list[str]]:
    """An Optuna storage over the journal at this absolute path, and what had to be mended in it, in words.

    Raises:
        TuningError: the path is a folder or cannot be written, or the file is not a journal of Optuna.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

    # the lock is a link to the file: with a relative path it would dangle, and be waited for without end
    assert path.is_absolute()
    lock = JournalFileSymlinkLock(str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        backend = JournalFileBackend(str(path), lock_obj=lock)
        lock.acquire()
        try:
            notes = mend(path)
        finally:
            lock.release()
        return JournalStorage(backend), notes
    except OSError as error:
        raise TuningError(f"the study `{path}` cannot be written: {error.strerror or error}") from error
    except (KeyError, TypeError, AttributeError, AssertionError) as error:  # records, but not Optuna's
        raise TuningError(
            f"`{path}` is not a journal of Optuna", help="give another file for the study"
        ) from error


def mend(path: Path) -> list[str]:
    """Cut back an unfinished last line and drop fragments that a later line was joined to; say so in words.

    A line is unfinished when power or disk space ended while it was written. Nobody has read it, so the study
    is what it was before that line. The caller holds the lock of the journal: otherwise a line that is being
    written would look unfinished.

    Raises:
        TuningError: no line of the file is a record of a journal.
    """
    data = path.read_bytes()
    if not data:
        return []
    complete, newline, tail = data.rpartition(b"\n")
    notes = []
    if tail:
        notes.append(f"the last line of {path.name} was cut short ({len(tail)} bytes); it was dropped")
    lines = complete.split(b"\n") if newline else []
    kept, dropped = [], 0
    for line in lines:
        record = line if _is_record(line) else _joined_record(line)
        dropped += record is not line
        if record is not None:
            kept.append(record)
    if not kept:
        if not lines and tail.startswith(
            b'{"op_code"'[: len(tail)]
        ):  # a journal whose very first line was cut
            _truncate(path, 0)
            return notes
        raise TuningError(f"`{path}` is not a journal of Optuna", help="give another file for the study")
    if dropped:
        notes.append(f"{dropped} damaged line{'s' * (dropped > 1)} of {path.name} dropped")
        _rewrite(path, b"\n".join(kept) + b"\n")
    elif tail:
        _truncate(path, len(complete) + 1)
    return notes


def _is_record(line: bytes) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and {"op_code", "worker_id"} <= record.keys()


def _joined_record(line: bytes) -> bytes | None:
    """The whole record at the end of a line that begins with a fragment of another one."""
    start = line.rfind(b'{"op_code"')
    return line[start:] if start > 0 and _is_record(line[start:]) else None


def _truncate(path: Path, size: int) -> None:
    with path.open("rb+") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def _rewrite(path: Path, data: bytes) -> None:
    mended = path.with_name(path.name + ".mended")
    with mended.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(mended, path)
