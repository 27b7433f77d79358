"""nequip-train with a clock, run by the Python of an environment with nequip: a worker of equal_time.py.

`python nequip_training.py [arguments of nequip-train]`. The program is run as it is; a callback of lightning, named
in nequip_training.yaml, notes the processor seconds of this process at the end of every epoch, counted from the
first step, keeps a copy of the best checkpoint at every budget, and stops the run at the last.
"""

import json
import shutil
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback


class Clock(Callback):
    """Writes a line into `path` for each epoch; `budgets` are seconds, ascending, with commas between them."""

    def __init__(self, path: str, budgets: str, folder: str) -> None:
        self.path, self.folder = Path(path), Path(folder)
        self.budgets = [float(seconds) for seconds in str(budgets).split(",")]

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.began = time.process_time()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        seconds = time.process_time() - self.began
        # the checkpoints' own callback comes after this one: best.ckpt is of the epochs before
        while self.budgets and seconds > self.budgets[0]:
            shutil.copy(self.folder / "best.ckpt", self.path.parent / f"at_{self.budgets.pop(0):g}.ckpt")
        if not self.budgets:
            trainer.should_stop = True
            return
        forces = float(trainer.callback_metrics["val0_epoch/forces_rmse"])
        line = {"epoch": trainer.current_epoch, "seconds": seconds, "validation": 1e3 * forces}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def main() -> None:
    """Run the program with the arguments."""
    import torch
    from nequip.scripts.train import main as nequip_train

    torch.set_num_threads(1)
    nequip_train()


if __name__ == "__main__":
    main()
