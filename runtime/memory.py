"""How the C library hands memory back."""

from __future__ import annotations

import ctypes
import sys

# names of glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory for the next allocation; whether it agreed.

    By default memory beyond a threshold goes back to the system when a step's tensors are freed, and the next
    step's are zeroed and mapped page by page again. On CPU that took up to half the time of a training step;
    kept, the process stays at its peak size instead. For programs (the command line, a training run), not for
    the library: it holds for the whole process.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
