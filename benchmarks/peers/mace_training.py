"""mace_run_train with a clock, run by the Python of an environment with mace-torch: a worker of equal_time.py.

`python mace_training.py CLOCK SECONDS [arguments of mace_run_train]`. The program is run as it is; a listener of its
log notes the processor seconds of this process at the end of every epoch in CLOCK (JSON lines), counted from
where training starts. The first epoch that ends behind SECONDS ends the run, and does not count.
"""

import json
import logging
import sys
import time
from pathlib import Path


class Clock(logging.Handler):
    """Writes a line for each epoch that the program reports, and stops the program in time."""

    def __init__(self, path: Path, limit: float) -> None:
        super().__init__()
        self.path, self.limit = path, limit
        self.began: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith("Started training"):
            self.began = time.process_time()
        if self.began is None or not text.startswith("Epoch "):
            return
        seconds = time.process_time() - self.began
        if seconds > self.limit:
            raise SystemExit(0)
        number, _, rest = text.removeprefix("Epoch ").partition(":")
        forces = float(rest.partition("RMSE_F=")[2].split()[0])
        line = {"epoch": int(number), "seconds": seconds, "validation": forces}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def main() -> None:
    """Run the program with what is left of the arguments."""
    path, limit, *arguments = sys.argv[1:]
    import torch
    from mace.cli.run_train import main as mace_run_train

    torch.set_num_threads(1)
    logging.getLogger().addHandler(Clock(Path(path), float(limit)))
    sys.argv = ["mace_run_train", *arguments]
    mace_run_train()


if __name__ == "__main__":
    main()
