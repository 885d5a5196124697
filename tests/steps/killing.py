"""Steps in processes of their own that are killed at a moment of choice."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

from workflows import training

# Killed outright, and killed for a file that grew too large.
DEATHS = (-signal.SIGKILL, -signal.SIGXFSZ)
PATIENCE = 300.0
# Validation images of a record, here, where usage is not what is looked at: for the larger network
# all 400 digits would take twice as long as its steps.
WATCHED = 40

_PROCESSES = multiprocessing.get_context("forkserver")
# The larger network's blocks take seconds to import.
_PROCESSES.set_forkserver_preload(
    [
        "workflows.steps.train",
        "workflows.steps.evaluate",
        "workflows.collecting",
        "models.vqgan",
    ]
)


@dataclass(frozen=True)
class Death:
    """When a process dies.

    event: 'step' of the model's optimiser, 'pass' forward through any module, 'rename' of a file
    (just before it), or 'start'. count: how many of them it lives to see, but for the start at
    least one. byte: None to die there and then; else in the middle of the next file that has more
    bytes than so many, whose first bytes are on disk by then.
    """

    event: str
    count: int = 1
    byte: int | None = None

    def prepare(self) -> None:
        """Let this process die so."""
        seen = 0

        def happened(*_: object) -> None:
            nonlocal seen
            seen += 1
            if seen == self.count:
                self._come()

        first: list[object] = []

        def stepped(optimiser: object, *_: object) -> None:
            # A critic's comes after the model's.
            first.append(optimiser)
            if optimiser is first[0]:
                happened()

        match self.event:
            case "step":
                register_optimizer_step_post_hook(stepped)
            case "pass":
                register_module_forward_hook(happened)
            case "rename":
                sys.addaudithook(lambda name, _: happened() if name == "os.rename" else None)
            case "start":
                self._come()

    def _come(self) -> None:
        if self.byte is None:
            os.kill(os.getpid(), signal.SIGKILL)
            return
        # The system writes up to the limit and then sends a signal, which Python ignores by
        # default; nothing of the process runs after it.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.byte, self.byte))


def lived(call: Callable[[], Any], death: Death | None = None) -> int:
    """Call it in another process; its exit status, negative for a signal."""
    process = _PROCESSES.Process(target=_live, args=(call, death))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode is not None, f"no end within {PATIENCE:.0f} s"
    return process.exitcode


def command(step: str, *arguments: object) -> Callable[[], Any]:
    """A step's command line, to be called in another process."""
    return partial(_main, step, [str(argument) for argument in arguments])


def _main(step: str, arguments: list[str]) -> None:
    sys.argv = [step, *arguments]
    sys.exit(importlib.import_module(f"workflows.steps.{step}").main())


def _live(call: Callable[[], Any], death: Death | None) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(1)
    training.WATCHED = WATCHED
    if death:
        death.prepare()
    call()
