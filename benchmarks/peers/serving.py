"""The protocol of the workers: JSON commands on lines of stdin, answers on lines of stdout. Needs nothing but Python.

`build` makes the steps of a model, `step` runs one and answers with its seconds, timed here so that the pipe
costs the peer nothing.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Steps = dict[str, Callable[[], Any]]


def serve(build: Callable[[Mapping[str, Any]], tuple[Steps, dict[str, Any]]]) -> None:
    """Answer until the input ends."""
    # what libraries print goes to stderr: stdout is for answers
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    steps: Steps = {}
    threads = 1
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "build":
            steps, answer = build(command)
            threads = command["threads"]
        elif command["do"] == "step":
            clock = time.process_time if threads == 1 else time.perf_counter
            began = clock()
            steps[command["name"]]()
            answer = {"seconds": clock() - began}
        else:
            raise ValueError(f"unknown command {command['do']}")
        print(json.dumps(answer), file=answers)
