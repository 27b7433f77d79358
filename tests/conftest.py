"""What every test may count on: one thread each (workers share the cores), and the place of shared data."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

from hypothesis import settings

# The same examples in every run of continuous integration: a failure there is a failure everywhere.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")
