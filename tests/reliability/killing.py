"""Run a step in a process of its own that is killed at a chosen moment."""

from __future__ import annotations

import multiprocessing
import os
import resource
import runpy
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

from workflows.training import stage1 as training

# Exit statuses of a process that was killed, by us or by the system for writing too large a file.
DEATHS = (-signal.SIGKILL, -signal.SIGXFSZ)
PATIENCE_S = 300.0
# Usage is measured on this many validation images. All 400 digits would take the larger network
# twice as long as its training steps.
WATCHED = 40

_PROCESSES = multiprocessing.get_context("forkserver")
# Processes are forked from one that has these modules, which take seconds to import.
_PROCESSES.set_forkserver_preload(
    [
        "workflows.steps.train",
        "workflows.steps.evaluate",
        "models.vqgan",
    ]
)


@dataclass(frozen=True)
class Death:
    """When a process is killed.

    event: what to count: a 'step' of the model's optimiser, a forward 'pass' through any module, or
    the 'rename' of a file (counted just before it). With 'start' nothing is counted. count: the
    number of the event that kills. byte: None to be killed at that event; otherwise the process is
    killed while it writes the next file that is larger than this, and the file then has its first
    `byte` bytes.
    """

    event: str
    count: int = 1
    byte: int | None = None

    def prepare(self) -> None:
        """Arrange for this process to be killed."""
        seen = 0

        def happened(*_: object) -> None:
            nonlocal seen
            seen += 1
            if seen == self.count:
                self._kill()

        first: list[object] = []

        def stepped(optimiser: object, *_: object) -> None:
            # The critic has an optimiser of its own, whose steps come after the model's.
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
                self._kill()

    def _kill(self) -> None:
        if self.byte is None:
            os.kill(os.getpid(), signal.SIGKILL)
            return
        # The system writes up to the limit and then sends SIGXFSZ. Python ignores that signal by
        # default; with the system's default nothing of the process runs after it.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.byte, self.byte))


def exit_status(call: Callable[[], Any], death: Death | None = None) -> int:
    """Call a function in another process. Returns the exit status, negative for a signal."""
    process = _PROCESSES.Process(target=_run, args=(call, death))
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode is not None, f"no end within {PATIENCE_S:.0f} s"
    return process.exitcode


def command(step: str, *arguments: object) -> Callable[[], Any]:
    """A step's command line, to be called in another process."""
    return partial(_main, step, [str(argument) for argument in arguments])


def _main(step: str, arguments: list[str]) -> None:
    sys.argv = [step, *arguments]
    runpy.run_module(f"workflows.steps.{step}", run_name="__main__", alter_sys=True)


def _run(call: Callable[[], Any], death: Death | None) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(1)
    watch = training.watch
    training.watch = lambda model, images, size: watch(model, images[:WATCHED], size)
    if death:
        death.prepare()
    call()
