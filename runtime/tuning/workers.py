"""Who is at work on a study, and who is gone.

A journal has no heartbeat: trials of killed workers would count as running for ever. So workers leave a sign
of life.
"""

import json
import os
import platform
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BEAT_SECONDS = 15.0
STALE_SECONDS = 120.0
_SUFFIX = ".worker"


@dataclass(frozen=True, slots=True)
class Worker:
    """One call of `tune`: its host, its process with the start time (process ids are used again), a token."""

    host: str
    pid: int
    start: str
    token: str
    label: str

    @classmethod
    def here(cls, label: str | None) -> "Worker":
        """The worker that this call is; `label` is how it appears in tables."""
        pid = os.getpid()
        host = _host()
        start = process_start(pid) or ""
        return cls(host, pid, start, uuid.uuid4().hex[:8], label or f"{platform.node()}:{pid}")

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Worker":
        """The worker whose `to_json` this is."""
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        """The worker as plain data."""
        return asdict(self)

    @property
    def file_name(self) -> str:
        """The name of its sign of life."""
        return re.sub(r"[^A-Za-z0-9._-]", "_", f"{self.host}-{self.pid}-{self.token}") + _SUFFIX

    def is_alive(self, folder: Path) -> bool:
        """Whether it is at work: on this host by its process, on another by the age of its sign of life.

        Ages are taken between two files of the same file system, so that clocks of hosts need not agree. A
        worker that took its sign of life away has left, though its process may live on (a notebook).
        """
        sign = folder / self.file_name
        try:
            beat = sign.stat().st_mtime
        except OSError:
            return False
        if self.host == _host() and os.name == "posix":
            return process_start(self.pid) == self.start
        return _file_system_now(folder) - beat < STALE_SECONDS


@contextmanager
def at_work(worker: Worker, folder: Path) -> Iterator[None]:
    """Show a sign of life in `folder` until the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    sign = folder / worker.file_name
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT_SECONDS):
            with suppress(OSError):  # a full or absent disk; the next beat may succeed
                sign.touch()

    thread = threading.Thread(target=beat, name="equic-tuning-heartbeat", daemon=True)
    try:
        sign.write_text(json.dumps(worker.to_json()))
        thread.start()
        yield
    finally:
        done.set()
        with suppress(RuntimeError):  # interrupted before it was started
            thread.join()
        sign.unlink(missing_ok=True)
        count_alive(folder)
        with suppress(OSError):  # others are still at work
            folder.rmdir()


def count_alive(folder: Path) -> int:
    """How many workers are at work; the signs of dead ones are taken away."""
    alive = 0
    for sign in folder.glob(f"*{_SUFFIX}"):
        try:
            worker = Worker.from_json(json.loads(sign.read_text()))
        except (OSError, ValueError, TypeError):  # just taken away, or not yet written
            continue
        if worker.is_alive(folder):
            alive += 1
        else:
            sign.unlink(missing_ok=True)
    return alive


def process_start(pid: int) -> str | None:
    """When the process began, in a form to compare; None where there is no such process, or only its remains.

    Linux says it in /proc. Elsewhere "" stands for a process that exists.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        return "" if _exists(pid) else None
    return None if fields[0] in "ZX" else fields[19]  # state and starttime, numbers 3 and 22 of proc(5)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it exists and is another user's
        return True
    return True


def _host() -> str:
    # two containers may share a host name and not the numbers of their processes
    try:
        return f"{platform.node()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _file_system_now(folder: Path) -> float:
    probe = folder / f"clock-{os.getpid()}-{time.monotonic_ns()}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()
