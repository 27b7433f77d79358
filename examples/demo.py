"""The whole journey in a few minutes: check, compile, train, tune, verify, export, molecular dynamics, report.

    make demo            (or: python examples/demo.py [--out FOLDER])

Every step is a command that you can run by itself; the script prints each before it runs it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
STEPS = (
    ("check", "equic check {here}/01_ethanol/spec.yaml"),
    ("check a phase space", "equic check {here}/03_pendulum/spec.yaml"),
    ("compile", "equic compile {here}/01_ethanol/spec.yaml -o {out}/untrained.equic"),
    ("train a molecule", "equic train {here}/01_ethanol/spec.yaml --runs {out}"),
    ("train a pendulum", "equic train {here}/03_pendulum/spec.yaml --runs {out}"),
    ("tune", "equic tune {here}/02_ethanol_in_field/spec.yaml --runs {out} --write {out}/best.yaml"),
    ("verify", "equic verify {out}/ethanol/1/model.equic --write"),
    ("verify a pendulum", "equic verify {out}/pendulum/1/model.equic --write"),
    ("export", "equic export {out}/ethanol/1/model.equic -o {out}/ethanol.pt2"),
    ("verify the export", "equic verify {out}/ethanol.pt2"),
    ("molecular dynamics", "equic md {out}/ethanol.pt2 {here}/data/ethanol.xyz --steps 400 -o {out}/md.xyz"),
    ("report", "equic report {out} -o {out}/report.html"),
)


def main() -> None:
    """Run every step in a process of its own; stop at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="a folder for everything made")
    root = parser.parse_args().out
    number = 1 + max((int(one.name) for one in root.glob("*") if one.name.isdigit()), default=0)
    out = root / str(number)
    out.mkdir(parents=True)
    # Models of this size gain nothing from a second thread, and beside another busy process two threads wait
    # for each other: a training of 13 s took over a minute.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    began = time.monotonic()
    for name, template in STEPS:
        command = template.format(here=HERE, out=out)
        print(f"\n── {name} {'─' * (76 - len(name))}\n$ {command}", flush=True)
        arguments = shlex.split(command)
        done = subprocess.run([sys.executable, "-m", *arguments], env=environment, check=False)
        if done.returncode:
            sys.exit(f"`{command}` ended with {done.returncode}")
    minutes = (time.monotonic() - began) / 60
    print(f"\nAll of it in {minutes:.1f} minutes. Open {out / 'report.html'}")


if __name__ == "__main__":
    main()
