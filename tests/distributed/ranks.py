"""Train with several processes what the tests train alone: `python -m tests.distributed.ranks`.

They are forked from one that has imported the libraries, or each would take seconds to start.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.distributed.trainings import CASES, CPU, WATCHED, outcome
from workflows import processes, training
from workflows.steps import train

# Imported before the fork; else by each of them, when they are first needed.
LIBRARIES = ("accelerate", "models.vqgan", "baselines.rq_vae")


def rank(out: Path, data: Path, spec: str) -> None:
    """What one process does: every case, and one whole step."""
    torch.set_num_threads(1)
    together = processes.join(CPU)
    assert isinstance(together, processes.Several)
    own = os.environ["RANK"]
    training.WATCHED = train.WATCHED = WATCHED
    for name, knobs in CASES.items():
        found = outcome(knobs, together)
        save_file(found.tensors, out / f"{name}.{own}.safetensors")
        (out / f"{name}.{own}.json").write_text(json.dumps(found.history))
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.fill_(float(own))
    together.agree(layer, None)
    save_file({"weight": layer.weight.detach()}, out / f"agreed.{own}.safetensors")
    train.run(json.loads(spec), data, out / "cell", threads=1, filmed=True)
    whole = training.train_epoch

    def dying(*arguments: Any) -> Any:
        if arguments[5] == 1:
            raise KeyboardInterrupt
        return whole(*arguments)

    training.train_epoch = dying
    with contextlib.suppress(KeyboardInterrupt):
        train.run(json.loads(spec), data, out / "cut", threads=1)
    torch.distributed.destroy_process_group()


def main() -> int:
    """Fork them and wait; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--spec", required=True, help="of the step")
    arguments = parser.parse_args()
    for library in LIBRARIES:
        importlib.import_module(library)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    count = str(arguments.count)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    os.environ |= {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    children = []
    for number in range(arguments.count):
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number)}
            try:
                rank(arguments.out, arguments.data, arguments.spec)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            sys.stdout.flush()
            os._exit(0)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
