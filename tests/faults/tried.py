"""The faults: each makes something go wrong for real and says what came of it.

A fault gets a copy of the repository in which data and weights are prepared and nothing is trained,
and the numbers of an undisturbed run. It returns what happened in words, and raises Broken where a
promise was not kept, Untried where this machine does not let it be tried.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from tests.faults.place import (
    BUDGET,
    CELL,
    PATIENCE,
    Broken,
    Place,
    kill,
    wait_for,
)

Numbers = dict[str, Any]
SPACE = "No space left on device"


class Untried(Exception):
    """Why a fault cannot be tried on this machine."""


def quoted(said: str, most: int = 320) -> str:
    """A message in quotes; of a long one the words of its beginning and its end."""
    if len(said) > most:
        begin, end = said[: most // 2].rsplit(" ", 1)[0], said[-most // 2 :].split(" ", 1)[-1]
        said = f"{begin} … {end}"
    return f"'{said}'"


@dataclass(frozen=True)
class Fault:
    """group, title: where it stands in the table. function: takes place and numbers."""

    group: str
    title: str
    function: Callable[[Place, Numbers], str]


FAULTS: list[Fault] = []


def fault(group: str, title: str) -> Callable[[Callable[[Place, Numbers], str]], Any]:
    """Enter a function into the table."""

    def enter(function: Callable[[Place, Numbers], str]) -> Callable[[Place, Numbers], str]:
        FAULTS.append(Fault(group, title, function))
        return function

    return enter


def flip(file: Path, at: float) -> None:
    """Turn over one bit, at that part of the file."""
    content = bytearray(file.read_bytes())
    content[int(at * len(content))] ^= 0x10
    # Two names may be of one file, which would be turned over twice.
    file.unlink()
    file.write_bytes(content)


def cut(file: Path, at: float) -> None:
    """Keep that part of the file."""
    content = file.read_bytes()
    file.write_bytes(content[: int(at * len(content))])


def begun(place: Place, epochs: int = 2) -> bool:
    """Whether that many epochs of the cell are saved."""
    file = place.cell / "state" / "progress.json"
    with contextlib.suppress(OSError, ValueError):
        return json.loads(file.read_text())["epoch"] >= epochs
    return False


def interrupted(place: Place) -> None:
    """Leave a training with a few epochs saved, and nothing at work."""
    with place.running() as snakemake:
        wait_for(lambda: begun(place, 3), "the training's third epoch")
        kill([*snakemake.children(recursive=True), snakemake])
    kill(place.processes())
    place.unlock()


# --- Killed -----------------------------------------------------------------------------------


@fault("killed", "SIGKILL of the training")
def kill_job(place: Place, wanted: Numbers) -> str:
    with place.running() as snakemake:
        wait_for(lambda: begun(place), "a saved epoch")
        trainers = place.trainers()
        if not trainers:
            raise Broken("no process holds the cell")
        kill(trainers)
        if snakemake.wait(60) == 0:
            raise Broken("Snakemake took a killed training for a finished one")
    if (place.cell / "train.json").exists():
        raise Broken("a killed training left train.json")
    return f"Snakemake says that the job failed; {place.completes(wanted)}"


@fault("killed", "SIGKILL of Snakemake alone, its training goes on")
def kill_snakemake(place: Place, wanted: Numbers) -> str:
    with place.running() as snakemake:
        wait_for(lambda: begun(place), "a saved epoch")
        trainers = place.trainers()
        if not trainers:
            raise Broken("no process holds the cell")
        # It stands still so that it cannot end meanwhile.
        for trainer in trainers:
            trainer.suspend()
        kill([snakemake])
        said = place.run().says("locked")
        place.unlock()
        again = place.run()
        if again.status == 0:
            raise Broken("two trainings worked on one cell")
        held = again.says("state/lock", "process")
        for trainer in trainers:
            trainer.resume()
        wait_for(lambda: not place.trainers(), "the end of the training left behind")
    return f"{quoted(said)}, after --unlock {quoted(held)}; {place.completes(wanted)}"


@fault("killed", "SIGKILL of the whole process tree")
def kill_tree(place: Place, wanted: Numbers) -> str:
    interrupted(place)
    state = place.cell / "state" / "last.safetensors"
    if not state.exists():
        raise Broken("no state was kept")
    done = place.run()
    if "epoch 1/" in done.said:
        raise Broken("the training began anew")
    return f"it goes on from its last whole epoch; {place.completes(wanted)}"


@fault("killed", "Ctrl-C")
def interrupt(place: Place, wanted: Numbers) -> str:
    with place.running() as snakemake:
        wait_for(lambda: begun(place), "a saved epoch")
        # A terminal interrupts all that it runs in the foreground.
        os.killpg(snakemake.pid, signal.SIGINT)
        if snakemake.wait(60) == 0:
            raise Broken("an interrupted run ended with status 0")
        wait_for(lambda: not place.trainers(), "the end of the training", 30)
    if (place.cell / "train.json").exists():
        raise Broken("the training was not interrupted")
    return f"the training ends within seconds, no lock is left; {place.completes(wanted)}"


@fault("killed", "SIGTERM of Snakemake")
def terminate(place: Place, wanted: Numbers) -> str:
    with place.running() as snakemake:
        wait_for(lambda: begun(place), "a saved epoch")
        snakemake.terminate()
        if snakemake.wait(PATIENCE) == 0:
            raise Broken("a run that was asked to end said that it finished")
        wait_for(lambda: not place.trainers(), "the end of the training", 30)
    how = "ends with" if (place.cell / "train.json").exists() else "breaks off"
    return f"Snakemake {how} the job at hand, no lock is left; {place.completes(wanted)}"


@fault("killed", "SIGKILL during evaluation")
def kill_evaluation(place: Place, wanted: Numbers) -> str:
    with place.running() as snakemake:
        wait_for(lambda: (place.cell / "train.json").exists(), "the end of the training")
        wait_for(lambda: any("evaluate" in line(p) for p in place.processes()), "evaluation")
        kill([*place.processes(), snakemake])
    place.unlock()
    trained = (place.cell / "train.json").stat().st_mtime_ns
    said = place.completes(wanted)
    if (place.cell / "train.json").stat().st_mtime_ns != trained:
        raise Broken("the finished training was done again")
    return f"the training is not done again; {said}"


def line(process: Any) -> str:
    """A process's command line, empty if it has gone."""
    with contextlib.suppress(Exception):
        return " ".join(process.cmdline())
    return ""


@fault("killed", "SIGKILL while results are collected")
def kill_collect(place: Place, wanted: Numbers) -> str:
    place.completes(wanted)
    out = place.root / f"results/{BUDGET}"
    render = [sys.executable, "-m", "workflows.render", "--budget", BUDGET, "--cell", CELL]
    for done in (place.run(f"results/{BUDGET}/plan.json"), place.command_here(render)):
        if done.status:
            raise Broken(done.said)
    before = (out / "measured.csv").read_text()
    killer = (
        "import os, sys, signal, pandas as pd; from workflows.render.__main__ import main;"
        "write = pd.DataFrame.to_csv;"
        "pd.DataFrame.to_csv = lambda self, path, **k: (write(self.head(1), path, **k),"
        " os.kill(os.getpid(), signal.SIGKILL));"
        f"sys.argv = {render[2:]!r}; main()"
    )
    done = place.command_here([sys.executable, "-c", killer])
    if done.status != -9:
        raise Broken(f"was not killed: {done.said}")
    if (out / "measured.csv").read_text() != before:
        raise Broken("half of measured.csv took the place of the whole")
    place.command_here(render)
    if (out / "measured.csv").read_text() != before:
        raise Broken("measured.csv is another after the next run")
    return "measured.csv stays the old one, whole; the next run writes the same"


@fault("killed", "every quantiser, at random steps and bytes, in evaluation and in collecting")
def kill_quantisers(place: Place, wanted: Numbers) -> str:
    times = "6"
    tests = [*("-q", "-n", "2", "-p", "no:cacheprovider"), "tests/steps/test_killed.py"]
    place = place.having(CODEBOOK_KILLS=times, CODEBOOK_KILLS_SEED=str(time.time_ns()))
    done = place.command_here([sys.executable, "-m", "pytest", *tests], patience=7200)
    if done.status:
        raise Broken(done.said[-3000:])
    passed = done.says(" passed").strip("= ").split(" in ")[0]
    return f"{times} times each, {passed}: the same models, numbers and tables"


# --- Disk and memory --------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of that size at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "codebook-faults", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        raise Untried("needs the right to mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


@fault("disk", "full while a training saves its state")
def full_state(place: Place, wanted: Numbers) -> str:
    with small_disk(place.cell, "4m"):
        done = place.run()
        if done.status == 0:
            raise Broken("a run on a full disk ended with status 0")
        said = done.says(SPACE, "last.safetensors", "run again")
        for file in (place.cell / "state").glob(".*.tmp"):
            raise Broken(f"{file} is left")
    return f"{quoted(said)}; {place.completes(wanted)}"


@fault("disk", "full while metrics.csv is written")
def full_metrics(place: Place, wanted: Numbers) -> str:
    place.completes(wanted)
    kept = {file.name: file.read_bytes() for file in place.cell.iterdir() if file.is_file()}
    size = sum(map(len, (kept["train.json"], kept["model.safetensors"])))
    with small_disk(place.cell, f"{size // 1024 + 24}k"):
        for name in ("train.json", "model.safetensors", "log.csv"):
            (place.cell / name).write_bytes(kept[name])
        (place.cell / "filler").write_bytes(b"\0" * 1024)
        with contextlib.suppress(OSError), (place.cell / "filler").open("ab") as filler:
            while True:
                filler.write(b"\0" * 4096)
                filler.flush()
        cache = place.root / ".cache"
        done = place.step(
            *("evaluate", "--cell", place.cell, "--data", cache / "datasets/mnist_5k"),
            *("--weights", cache / "weights", "--protocols", "exact", "--fid-images", 8),
            *("--lpips-images", 8, "--reference", cache / "reference/mnist_5k/exact-8.safetensors"),
        )
        if done.status == 0:
            raise Broken("an evaluation on a full disk ended with status 0")
        said = done.says(SPACE, str(place.cell), "run again")
        if (place.cell / "metrics.csv").exists():
            raise Broken("half a metrics.csv was left")
    return f"{quoted(said)}, no half file; {place.completes(wanted)}"


@fault("disk", "full while a dataset is prepared")
def full_cache(place: Place, wanted: Numbers) -> str:
    folder = place.root / ".cache/datasets/mnist_5k"
    shutil.rmtree(folder)
    with small_disk(folder, "1m"):
        done = place.run()
        if done.status == 0:
            raise Broken("a run on a full disk ended with status 0")
        said = done.says(SPACE, "run again")
        if (folder / "dataset.json").exists():
            raise Broken("half a dataset has its record")
    return f"{quoted(said)}; {place.completes(wanted)}"


def closed(place: Place, folder: Path) -> str:
    """What is said of a folder on a read-only file system, before anything is run."""
    with small_disk(folder, "4m"):
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        done = place.run()
        if done.status == 0:
            raise Broken("a run into a read-only folder ended with status 0")
        if "rule train" in done.said or list(folder.iterdir()):
            raise Broken("something was run")
        return done.says(str(folder.relative_to(place.root)), "nothing was run, give leave")


@fault("disk", "read-only results folder")
def read_only(place: Place, wanted: Numbers) -> str:
    said = closed(place, place.root / f"results/{BUDGET}")
    return f"{quoted(said)}; {place.completes(wanted)}"


@fault("disk", "read-only folder of an unfinished cell")
def read_only_cell(place: Place, wanted: Numbers) -> str:
    said = closed(place, place.cell)
    return f"{quoted(said)}; {place.completes(wanted)}"


@fault("memory", "a batch that the address space has no room for")
def out_of_memory(place: Place, wanted: Numbers) -> str:
    if shutil.which("prlimit") is None:
        raise Untried("needs prlimit")
    budget = place.root / f"workflows/budgets/{BUDGET}.yaml"
    kept = budget.read_text()
    content = yaml.safe_load(kept)
    content["knobs"] |= {"batch_size": 3600, "train_images": None, "epochs": 1}
    budget.write_text(yaml.safe_dump(content))
    # How much a process maps before it trains depends on the machine.
    for size in (6.0, 5.0, 4.5, 4.0, 3.5, 3.0, 2.5):
        limit = f"--as={int(size * 2**30)}"
        done = Place(place.root, ("prlimit", limit)).run(f"{CELL}/train.json")
        if done.status:
            break
        shutil.rmtree(place.cell)
    budget.write_text(kept)
    said = done.says("out of memory", CELL, "lower batch_size")
    if (place.cell / "train.json").exists():
        raise Broken("a training that ended for want of memory left train.json")
    return f"{quoted(said)}; {place.completes(wanted)}"


@contextlib.contextmanager
def little_memory(size: str) -> Iterator[tuple[str, ...]]:
    """What to begin a command with so that it and all that it starts have so much memory."""
    folder = Path("/sys/fs/cgroup/memory") / f"codebook-faults-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(size)
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise Untried(f"needs a memory cgroup of its own ({error})") from error
    try:
        yield ("sh", "-c", f'echo $$ > {folder}/cgroup.procs; exec "$@"', "sh")
    finally:
        for process in (folder / "cgroup.procs").read_text().split():
            os.kill(int(process), signal.SIGKILL)
        wait_for(lambda: not (folder / "cgroup.procs").read_text(), "an empty cgroup", 30)
        folder.rmdir()


@fault("memory", "a cgroup with less than a training needs")
def killed_for_memory(place: Place, wanted: Numbers) -> str:
    with little_memory("420M") as prefix:
        done = Place(place.root, prefix).run()
        if done.status == 0:
            raise Broken("it fitted")
        said = done.says("for want of memory", "run again")
    if (place.cell / "metrics.csv").exists():
        raise Broken("a run that ended for want of memory left metrics.csv")
    return f"{quoted(said)}; {place.completes(wanted)}"


# --- Damaged files ----------------------------------------------------------------------------


def damaged_state(place: Place, wanted: Numbers, damage: Callable[[Path, float], None]) -> str:
    interrupted(place)
    state = place.cell / "state"
    damage(state / "last.safetensors", 0.7)
    done = place.run()
    if done.status:
        raise Broken(f"the state before was not taken: {done.said[-1500:]}")
    said = done.says("last.safetensors: damaged", "going on from")
    return f"{quoted(said)}; {place.completes(wanted)}"


@fault("damage", "a bit of a checkpoint flipped")
def flipped_state(place: Place, wanted: Numbers) -> str:
    return damaged_state(place, wanted, flip)


@fault("damage", "a checkpoint cut short")
def cut_state(place: Place, wanted: Numbers) -> str:
    return damaged_state(place, wanted, cut)


@fault("damage", "both kept checkpoints damaged")
def both_states(place: Place, wanted: Numbers) -> str:
    interrupted(place)
    state = place.cell / "state"
    for file in state.glob("*.safetensors"):
        flip(file, 0.7)
    done = place.run()
    if done.status == 0:
        raise Broken("a training went on from nothing whole")
    said = done.says("last.safetensors: damaged", "delete")
    shutil.rmtree(state)
    return f"{quoted(said)}; that done, {place.completes(wanted)}"


@fault("damage", "a bit of a trained model flipped before it is evaluated")
def flipped_model(place: Place, wanted: Numbers) -> str:
    place.completes(wanted)
    flip(place.cell / "model.safetensors", 0.9)
    (place.cell / "metrics.csv").unlink()
    done = place.run()
    if done.status == 0:
        raise Broken("a damaged model was evaluated")
    said = done.says("model.safetensors: damaged")
    (place.cell / "model.safetensors").unlink()
    return f"{quoted(said)}; that done, {place.completes(wanted)}"


def damaged_data(place: Place, wanted: Numbers, name: str, damage: Any) -> str:
    file = place.root / ".cache/datasets/mnist_5k" / name
    damage(file, 0.5)
    done = place.run()
    if done.status == 0:
        raise Broken(f"a damaged {name} was trained on or measured with")
    said = done.says(name)
    shutil.rmtree(file.parent)
    return f"{quoted(said)}; that done, {place.completes(wanted)}"


@fault("damage", "a bit of the training images' cache flipped")
def flipped_data(place: Place, wanted: Numbers) -> str:
    return damaged_data(place, wanted, "train.npy", flip)


@fault("damage", "the test images' cache flipped")
def flipped_test(place: Place, wanted: Numbers) -> str:
    return damaged_data(place, wanted, "test.npy", flip)


@fault("damage", "the training images' cache cut short")
def cut_data(place: Place, wanted: Numbers) -> str:
    return damaged_data(place, wanted, "train.npy", cut)


@fault("damage", "a bit of a metric network flipped")
def flipped_weights(place: Place, wanted: Numbers) -> str:
    file = place.root / ".cache/weights/inception.safetensors"
    # A link to what other copies use would damage theirs.
    flip(file, 0.5)
    done = place.run()
    if done.status == 0:
        raise Broken("damaged weights measured a cell")
    said = done.says("inception.safetensors")
    shutil.rmtree(file.parent)
    return f"{quoted(said)}; weights removed, {place.completes(wanted)}"


@fault("damage", "a metrics.csv cut short, then collected and verified")
def cut_csv(place: Place, wanted: Numbers) -> str:
    place.completes(wanted)
    cut(place.cell / "metrics.csv", 0.6)
    done = place.command_here([sys.executable, "-m", "workflows.verify", "--budget", BUDGET])
    if done.status == 0:
        raise Broken("verify found nothing wrong with half a metrics.csv")
    done.says("altered", "metrics.csv")
    render = ["-m", "workflows.render", "--budget", BUDGET, "--cell", CELL]
    done = place.command_here([sys.executable, *render])
    if done.status == 0:
        raise Broken("half a metrics.csv was collected")
    said = done.says("render:", "metrics.csv", "damaged")
    (place.cell / "metrics.csv").unlink()
    return f"{quoted(said)}; that done, {place.completes(wanted)}"


# --- Others -----------------------------------------------------------------------------------


@fault("two runs", "the same tables asked for twice at once")
def twice(place: Place, wanted: Numbers) -> str:
    with place.running() as first:
        wait_for(lambda: begun(place, 1), "a saved epoch")
        second = place.run()
        if second.status == 0:
            raise Broken("two runs worked in one folder")
        said = second.says("locked")
        if first.wait(200):
            raise Broken("the first run was disturbed")
    return f"the second: {quoted(said)}, the first is undisturbed; {place.completes(wanted)}"


@fault("two runs", "the same, with Snakemake's lock switched off")
def twice_without_lock(place: Place, wanted: Numbers) -> str:
    with place.running() as first:
        wait_for(lambda: begun(place, 1), "a saved epoch")
        second = place.run(options=("--nolock",))
        if second.status == 0:
            raise Broken("two trainings worked on one cell")
        said = second.says("state/lock", "process")
        first.wait(200)
    return f"{quoted(said)}; {place.completes(wanted)}"


@fault("clock", "jumps a day ahead for a training, then two days back")
def clock(place: Place, wanted: Numbers) -> str:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise Untried("needs libfaketime")
    told = place.root / "clock"
    told.write_text("+0")
    # Of the steps alone: Snakemake waits by the wall's clock, and would for a day. The clock that
    # only runs, which nobody sets, is left as it is.
    python = place.root / "jumping" / "python"
    python.parent.mkdir()
    python.write_text(
        "#!/bin/sh\n"
        f"exec env -u CODEBOOK_PRELOADED LD_PRELOAD={found[0]} FAKETIME_TIMESTAMP_FILE={told} "
        "FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 "
        f'{place.root / ".venv/bin/python"} "$@"\n'
    )
    python.chmod(0o755)
    path = f"{python.parent}{os.pathsep}{place.variables()['PATH']}"
    with place.having(PATH=path).running() as snakemake:
        for jump, epochs in {"+1d": 2, "-1d": 6}.items():
            wait_for(lambda epochs=epochs: begun(place, epochs), f"epoch {epochs}")
            told.write_text(jump)
        if snakemake.wait(PATIENCE):
            raise Broken(f"the run failed: {place.heard.read_text()[-2500:]}")
    found_now = place.numbers()
    other = [name for name, value in wanted.items() if found_now[name] != value]
    if other:
        raise Broken(f"{', '.join(other)} are others than without the jumps")
    return f"the run ends with the same numbers; {place.completes(wanted)}"


@fault("clock", "outputs dated before their inputs")
def old_files(place: Place, wanted: Numbers) -> str:
    place.completes(wanted)
    for file in place.cell.iterdir():
        subprocess.run(["touch", "-d", "1999-01-01", str(file)], check=True)
    return f"Snakemake makes them again; {place.completes(wanted)}"


@fault("divergence", "a learning rate at which the loss is no number")
def diverging(place: Place, wanted: Numbers) -> str:
    budget = place.root / f"workflows/budgets/{BUDGET}.yaml"
    kept = budget.read_text()
    content = yaml.safe_load(kept)
    content["knobs"]["learning_rate"] = 1.0
    content["role_knobs"] = {}
    budget.write_text(yaml.safe_dump(content))
    done = place.run(f"results/{BUDGET}/cells/mnist_5k/sq_vae/default/seed0/metrics.csv")
    if done.status:
        raise Broken(f"a cell that diverged stopped the run: {done.said[-1500:]}")
    record = place.root / f"results/{BUDGET}/cells/mnist_5k/sq_vae/default/seed0/train.json"
    about = json.loads(record.read_text())
    if about["status"] != "diverged":
        raise Broken(f"its status is {about['status']}")
    budget.write_text(kept)
    return f"a result: '{about['message']}', the run goes on; {place.completes(wanted)}"


# --- Network ----------------------------------------------------------------------------------


class Misbehaving(http.server.BaseHTTPRequestHandler):
    """Serves `content` in one of several bad ways."""

    content = b""
    manner = "good"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer in the manner asked for."""
        body = self.content
        if self.manner == "page":
            body = b"<!DOCTYPE html><html><body>Please sign in</body></html>"
        self.send_response(503 if self.manner == "error" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.manner == "half":
            body = body[: len(body) // 2]
        if self.manner == "stall":
            self.wfile.write(body[:10])
            self.wfile.flush()
            time.sleep(90)
            return
        self.wfile.write(body)


def archive() -> bytes:
    """A tar.gz of 24 images, the same bytes every time."""
    file = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as made,
    ):
        for number in range(24):
            image = io.BytesIO()
            pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(image, "PNG")
            about = tarfile.TarInfo(f"{number:02d}.png")
            about.size = image.tell()
            image.seek(0)
            made.addfile(about, image)
    return file.getvalue()


def describe(place: Place, content: bytes, address: str) -> None:
    """Give the copy a dataset `served` that is downloaded from there."""
    source = {"url": address, "bytes": len(content), "md5": hashlib.md5(content).hexdigest()}
    about = {
        **{"name": "served", "title": "served", "stand_in_for": None, "image_size": 32},
        **{"channels": 3, "value_range": [0, 255], "licence": "none", "citation": "none"},
        **{"reader": "image_folder", "options": {"pattern": r"\d\d\.png"}, "validation": 4},
        "sources": [{"kind": "url", "files": [source]}],
        "images": {"train": 16, "test": 8},
    }
    (place.root / "workflows/datasets/served.yaml").write_text(yaml.safe_dump(about))


def download(place: Place, wanted: Numbers, manner: str) -> str:
    """A dataset from a server of that manner, then from a good one."""
    content = archive()
    handler = type("Handler", (Misbehaving,), {"content": content, "manner": manner})
    folder = place.root / ".cache/datasets/served"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        describe(place, content, f"http://127.0.0.1:{server.server_port}/images.tar.gz")
        done = place.step("prepare", "--dataset", "served", "--out", folder)
        if done.status == 0:
            raise Broken("what came was taken for the file")
        said = done.says("error:", "images.tar.gz")
        if (folder / "dataset.json").exists():
            raise Broken("half a dataset has its record")
        handler.manner = "good"  # type: ignore[attr-defined]
        done = place.step("prepare", "--dataset", "served", "--out", folder)
        if done.status:
            raise Broken(f"the next download failed: {done.said[-1500:]}")
        server.shutdown()
    return f"{quoted(said)}; the next download is taken"


for _manner, _title in {
    "half": "half a file",
    "page": "an HTML page in place of the file",
    "error": "a server that answers 503",
    "stall": "a server that stalls after ten bytes",
}.items():

    def _try(place: Place, wanted: Numbers, manner: str = _manner) -> str:
        return download(place, wanted, manner)

    fault("network", _title)(_try)
