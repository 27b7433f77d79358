"""What every test may count on: one thread each (workers share the cores), and the place of shared data."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
