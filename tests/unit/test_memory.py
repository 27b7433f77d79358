"""Memory that glibc keeps is not mapped again page by page."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from equic.runtime.memory import keep_freed_memory
agreed = keep_freed_memory() if sys.argv[1] == "keep" else True
for step in range(12):
    if step == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [np.full(2_000_000, 1.0) for _ in range(10)]  # as a step does: many, then none
    del tensors
print(agreed, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how):
    run = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    agreed, faults = run.stdout.split()
    return agreed == "True", int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_used_again_without_page_faults():
    agreed, kept = page_faults("keep")
    if not agreed:
        pytest.skip("not glibc")
    _, plain = page_faults("plain")
    assert kept < plain / 10
