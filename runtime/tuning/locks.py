"""One worker at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of this name: for processes on one machine, and on others that share the file system.

    The lock of the operating system ends with the process that holds it, so a killed worker delays nobody.
    Where the file system has none (some cluster file systems, Windows) a lock file takes its place; if its
    owner dies, it is taken over after 30 s.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if _lock(descriptor):
            yield  # closing the descriptor releases the lock
            return
    finally:
        os.close(descriptor)
    from optuna.storages.journal import JournalFileOpenLock

    lock = JournalFileOpenLock(str(path))
    lock.acquire()
    try:
        yield
    finally:
        with suppress(RuntimeError):  # held for longer than the grace period: taken over, no longer ours
            lock.release()


def _lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return False
    return True
