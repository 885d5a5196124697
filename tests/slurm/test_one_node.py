"""Cells through Slurm end as they end without it, also when jobs and nodes die on the way.

A cluster of one node, brought up by one_node.sh, runs one table of the smoke budget in a copy of
the repository; `make slurm-check` runs the whole of that budget (CODEBOOK_SLURM_WHOLE=1).
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.slurm.conftest import ROOT, Cluster, environment_of
from tests.workflow.tiny import copy_tree

WHOLE = os.environ.get("CODEBOOK_SLURM_WHOLE") == "1"
PROFILE = ROOT / "profiles" / "slurm"
# The profile is for clusters whose queues are asked every 20 seconds.
QUICK = ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10"]
TABLE = "results/smoke/tables/two_dimensions.md"
TARGETS = ["all_tables"] if WHOLE else [TABLE]
# Its cells: the one whose job is killed, and the one whose node is lost.
KILLED, LOST = "photo_patches/cvq_vae/D2-l2/seed0", "photo_patches/vq_vae/D2/seed0"
# Columns that say how long something took.
TIMING = ["seconds", "images_per_second"]
LIMIT_S = 3600 * 4 if WHOLE else 900


def longer(repository: Path) -> Path:
    """A copy of this repository whose trainings last some seconds, long enough to be met."""
    copy_tree(repository)
    if not WHOLE:
        budget = repository / "workflows" / "budgets" / "smoke.yaml"
        text = budget.read_text(encoding="utf-8")
        changed = text.replace(
            "knobs: {epochs: 1, batch_size: 64", "knobs: {epochs: 12, batch_size: 16"
        )
        assert changed != text
        budget.write_text(changed, encoding="utf-8")
    return repository


def command(*arguments: str) -> list[str]:
    return ["snakemake", *arguments, "--config", "budget=smoke", "--", *TARGETS]


def slurm(*more: str) -> list[str]:
    return command("--profile", "profiles/slurm", *QUICK, *more)


def through_slurm(repository: Path, cluster: Cluster) -> subprocess.Popen[str]:
    with (repository / "slurm.log").open("w") as log:
        return subprocess.Popen(
            slurm(),
            cwd=repository,
            env=dict(cluster.environment),
            stdout=log,
            stderr=log,
            text=True,
        )


def waited(condition: Callable[[], object], seconds: float, run: subprocess.Popen[str]) -> None:
    """Wait for something to be true while a run goes on."""
    end = time.monotonic() + seconds
    while not condition():
        assert run.poll() is None, "the run ended first"
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def running(cluster: Cluster) -> dict[str, str]:
    """Wildcards of what runs now -> its job's number."""
    listed = cluster.ask("squeue", "--noheader", "--states=running", "--format=%i %k")
    return {comment: job for job, comment in (line.split(" ", 1) for line in listed.splitlines())}


def job_of(cluster: Cluster, rule: str, cell: str) -> str:
    wanted = f"{rule}_wildcards_{cell.replace('/', '_')}"
    found = [job for name, job in running(cluster).items() if name == wanted]
    assert len(found) == 1, running(cluster)
    return found[0]


def processes(cluster: Cluster, job: str) -> list[int]:
    """Those of a job, as its node knows them; none once the job is gone."""
    listed = subprocess.run(
        ["scontrol", "listpids", job], env=dict(cluster.environment), capture_output=True, text=True
    )
    pids = [int(line.split()[0]) for line in listed.stdout.splitlines()[1:]]
    return [pid for pid in pids if pid > 0]


def kill_all_of(cluster: Cluster, job: str) -> None:
    """As the system does to a job that takes too much memory: every process, without warning."""
    pids = processes(cluster, job)
    # The step itself is among them, and nowhere else.
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
    assert any(b"-m\0workflows.steps.train\0" in command for command in commands), commands
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def lose_the_node(cluster: Cluster) -> None:
    """The node fails and comes back. Slurm puts the job that ran there into the queue again, where
    it waits for two minutes: sooner, the node might still know it, and would be shut for that.
    """
    node = cluster.ask("sinfo", "--noheader", "--format=%n")
    cluster.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    cluster.ask("scontrol", "update", f"nodename={node}", "state=resume")


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Path:
    """A copy of the repository in which Snakemake alone ran what Slurm is to run."""
    repository = longer(tmp_path_factory.mktemp("without"))
    done = subprocess.run(
        command("--cores", "2"),
        cwd=repository,
        env=environment_of(),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return repository


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster, without: Path) -> Path:
    """Another copy, through Slurm: one training's job is killed, the other's node is lost."""
    repository = longer(tmp_path_factory.mktemp("beside"))
    if not WHOLE:
        # Data, weights and their checks, so that the jobs are those of the cells.
        shutil.copytree(without / ".cache", repository / ".cache")
    run = through_slurm(repository, cluster)
    try:
        if not WHOLE:
            interrupt(repository, cluster, run)
        status = run.wait(timeout=LIMIT_S)
    finally:
        run.send_signal(signal.SIGINT)
        cluster.ask("scancel", f"--user={os.getuid()}")
        run.wait(timeout=120)
        end_leftovers(repository)
    log = (repository / "slurm.log").read_text(encoding="utf-8")
    assert status == 0, log[-5000:]
    return repository


def end_leftovers(repository: Path) -> None:
    """Snakemake of a job that was killed may outlive it where no control groups end it."""
    mine = f"{repository}/"
    for process in psutil.process_iter(["cmdline"]):
        if any(mine in word for word in process.info["cmdline"] or []):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def interrupt(repository: Path, cluster: Cluster, run: subprocess.Popen[str]) -> None:
    """Each of the two trainings is met after its first epoch, and before its last."""
    for cell in (KILLED, LOST):
        folder = repository / "results" / "smoke" / "cells" / cell
        waited((folder / "state" / "last.safetensors").exists, LIMIT_S, run)
        assert not (folder / "train.json").exists(), f"{cell} was over too soon"
        job = job_of(cluster, "rule_train_filmed", cell)
        if cell == KILLED:
            kill_all_of(cluster, job)
            waited(lambda job=job: job not in running(cluster).values(), 120, run)
        else:
            lose_the_node(cluster)


def numbers(repository: Path, file: str) -> pd.DataFrame:
    frame = pd.read_csv(repository / file, keep_default_na=False)
    return frame.drop(columns=[name for name in TIMING if name in frame])


def test_a_run_through_slurm_makes_the_same(without: Path, beside: Path) -> None:
    """Tables byte for byte, models bit for bit, and numbers but for the seconds."""
    tables = sorted(path.relative_to(without) for path in without.glob("results/smoke/tables/*.*"))
    assert {path.suffix for path in tables} == {".md", ".csv", ".tex"}
    models = sorted(p.relative_to(without) for p in without.rglob("cells/**/model.safetensors"))
    assert models
    for file in (*tables, *models):
        assert (without / file).read_bytes() == (beside / file).read_bytes(), file
    folder = "results/smoke" if WHOLE else "results/smoke/collected/two_dimensions"
    for name in ("measured", "curves", "codes"):
        file = f"{folder}/{name}.csv"
        pd.testing.assert_frame_equal(numbers(without, file), numbers(beside, file))
    seconds = pd.read_csv(beside / folder / "measured.csv")["seconds"]
    assert (seconds > 0).all()


@pytest.mark.skipif(WHOLE, reason="nothing is killed while the whole budget runs")
def test_what_was_killed_went_on_with_twice_the_time(beside: Path, cluster: Cluster) -> None:
    for cell in (KILLED, LOST):
        log = beside / "logs" / "smoke" / cell / "train.log"
        epochs = [int(n) for n in re.findall(r"epoch (\d+)/12", log.read_text(encoding="utf-8"))]
        assert epochs[-1] == 12, cell
        assert epochs[0] > 1, cell
    log = (beside / "slurm.log").read_text(encoding="utf-8")
    assert "Trying to restart job" in log

    ended = (cluster.folder / "jobs.txt").read_text(encoding="utf-8")
    limits = re.findall(r"JobState=(\w+) .*?TimeLimit=(\d+)", ended)
    (failed,) = [int(minutes) for state, minutes in limits if state == "FAILED"]
    assert failed >= 10
    assert ("COMPLETED", str(2 * failed)) in limits


def test_every_step_but_the_quick_ones_was_a_job(beside: Path, cluster: Cluster) -> None:
    log = (beside / "slurm.log").read_text(encoding="utf-8")
    submitted = len(re.findall(r"has been submitted with SLURM jobid", log))
    ended = (cluster.folder / "jobs.txt").read_text(encoding="utf-8")
    # Two trainings and two evaluations, and the one that was killed again.
    assert submitted >= (160 if WHOLE else 5)
    assert ended.count("JobState=COMPLETED") >= submitted - 1
    assert not re.search(r"rule_(plan|collect|table|figure|verdicts|site)", ended)


def test_a_whole_run_is_one_job_too(without: Path, beside: Path, cluster: Cluster) -> None:
    """Steps within one allocation, where jobs of their own would cost more than they do."""
    metrics = beside / "results" / "smoke" / "cells" / KILLED / "metrics.csv"
    before = metrics.read_bytes()
    metrics.unlink()
    target = str(metrics.relative_to(beside))
    script = shlex.join(["snakemake", "--cores", "2", "--config", "budget=smoke", "--", target])
    cluster.ask("sbatch", "--wait", f"--chdir={beside}", "--output=one_job.log", "--wrap", script)
    assert metrics.read_bytes() == before
    log = (beside / "one_job.log").read_text(encoding="utf-8")
    assert f"Evaluate {KILLED}" in log
    assert f"Train {KILLED}" not in log


def test_a_gpu_is_asked_for_as_a_generic_resource(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(
        "rule one:\n    output: 'gpu.txt'\n    resources: gpu=1, mem_mb=200, runtime=5\n"
        "    shell: 'echo $CUDA_VISIBLE_DEVICES > {output}'\n"
    )
    environment = {**cluster.environment}
    del environment["CUDA_VISIBLE_DEVICES"]
    done = subprocess.run(
        ["snakemake", "--profile", str(PROFILE), *QUICK],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "gpu.txt").read_text() in ("0\n", "1\n")
