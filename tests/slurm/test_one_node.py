"""Cells through a Slurm cluster of this machine alone: `make slurm-test`, some minutes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.workflow.tiny import ROOT, copy_tree, wait_for

DAEMONS = ("munged", "slurmctld", "slurmd")
# Daemons are in /usr/sbin, which is not on everybody's path.
PATH = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}:/usr/sbin"
SETTINGS = """
ClusterName=one_node
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
KillWait=2
MinJobAge=600
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Gres=gpu:2
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
# The profile is for clusters whose queues are asked every 20 seconds.
PROFILE = ["--profile", str(ROOT / "profiles/slurm"), "--latency-wait", "10"]
PROFILE += ["--slurm-init-seconds-before-status-checks", "2"]
CELL = "photo_patches/cvq_vae/D2-l2/seed0"
TABLE = "results/smoke/tables/two_dimensions.md"
LIMIT_S = 900


@dataclass(frozen=True)
class Cluster:
    """folder: of the cluster's files. environment: what its commands need."""

    folder: Path
    environment: Mapping[str, str]

    def ask(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        done = subprocess.run(
            command, env=dict(self.environment), capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


def configure(folder: Path) -> None:
    """Write the cluster's files. Two devices that every machine has stand for GPUs."""
    for name in ("bin", "state", "spool"):
        (folder / name).mkdir()
    folder.chmod(0o755)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    host, servers = socket.gethostname(), [socket.create_server(("127.0.0.1", 0)) for _ in "ab"]
    text = SETTINGS.format(
        host=host,
        ports=[server.getsockname()[1] for server in servers],
        folder=folder,
        cores=os.cpu_count(),
        memory=int(0.9 * psutil.virtual_memory().total / 2**20),
    )
    for server in servers:
        server.close()
    (folder / "slurm.conf").write_text(text)
    gpus = [f"NodeName={host} Name=gpu File={file}\n" for file in ("/dev/null", "/dev/zero")]
    (folder / "gres.conf").write_text("".join(gpus))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
    # Steps within a job are started without SLURM_CONF; this srun gives them the file again.
    srun = folder / "bin/srun"
    srun.write_text(
        f"#!/bin/sh\nexport SLURM_CONF={folder}/slurm.conf\n"
        f'exec {shutil.which("srun", path=PATH)} "$@"\n'
    )
    srun.chmod(0o755)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of one idle node, stopped after the tests."""
    if os.environ.get("CI_REQUIRES_SLURM") != "1":
        pytest.skip("a Slurm cluster takes minutes: make slurm-test")
    assert all(shutil.which(name, path=PATH) for name in (*DAEMONS, "sbatch")), (
        "no Slurm: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
    )
    # Not pytest's folders, whose names are too long for a socket.
    with tempfile.TemporaryDirectory(prefix="slurm-") as made:
        folder = Path(made)
        configure(folder)
        names = {"PATH": f"{folder}/bin:{PATH}", "SLURM_CONF": f"{folder}/slurm.conf"}
        cluster = Cluster(folder, {**os.environ, **names})
        files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid"}
        files |= {"seed-file": "munge.seed", "log-file": "munged.log"}
        try:
            # --force: the folder above may be writable by others, as /tmp is.
            options = [f"--{name}={folder}/{file}" for name, file in files.items()]
            cluster.ask("munged", "--force", *options)
            cluster.ask("slurmctld", "-c")
            cluster.ask("slurmd", "-c")
            wait_for(
                lambda: cluster.ask("sinfo", "--noheader", "--format=%T") == "idle", "a node", 30
            )
            yield cluster
        finally:
            for name in reversed(DAEMONS):
                with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
                    daemon = psutil.Process(int((folder / f"{name}.pid").read_text()))
                    daemon.terminate()
                    daemon.wait(20)


def test_a_table_goes_through_and_a_killed_training_goes_on_with_twice_the_time(
    cluster: Cluster, tmp_path: Path
) -> None:
    copy_tree(tmp_path / "copy")
    budget = tmp_path / "copy/workflows/budgets/smoke.yaml"
    text = budget.read_text(encoding="utf-8")
    longer = text.replace("{epochs: 1, batch_size: 64", "{epochs: 12, batch_size: 16")
    assert longer != text
    budget.write_text(longer, encoding="utf-8")
    command = ["snakemake", *PROFILE, "--config", "budget=smoke", "--", TABLE]
    folder, said = tmp_path / "copy/results/smoke/cells" / CELL, tmp_path / "said.log"
    with said.open("w") as log:
        environment = dict(cluster.environment)
        run = subprocess.Popen(
            command, cwd=tmp_path / "copy", env=environment, stdout=log, stderr=log
        )
        try:
            wait_for((folder / "state/last.safetensors").exists, "a state", LIMIT_S)
            wanted = f"rule_train_filmed_wildcards_{CELL.replace('/', '_')}"
            listed = cluster.ask("squeue", "--noheader", "--states=running", "--format=%i %k")
            (job,) = [line.split()[0] for line in listed.splitlines() if wanted in line]
            for line in cluster.ask("scontrol", "listpids", job).splitlines()[1:]:
                if (number := int(line.split()[0])) > 0:
                    os.kill(number, signal.SIGKILL)
            assert run.wait(LIMIT_S) == 0, said.read_text()[-5000:]
        finally:
            run.send_signal(signal.SIGINT)
            cluster.ask("scancel", f"--user={os.getuid()}")
            run.wait(120)
    assert "Trying to restart job" in said.read_text(encoding="utf-8")
    assert (tmp_path / "copy" / TABLE).is_file()
    trained = (tmp_path / "copy/logs/smoke" / CELL / "train.log").read_text(encoding="utf-8")
    epochs = [int(number) for number in re.findall(r"epoch (\d+)/12", trained)]
    assert epochs[0] > 1
    assert epochs[-1] == 12
    ended = (cluster.folder / "jobs.txt").read_text(encoding="utf-8")
    limits = re.findall(r"JobState=(\w+) .*?TimeLimit=(\d+)", ended)
    (failed,) = [int(minutes) for state, minutes in limits if state == "FAILED"]
    assert failed >= 10
    assert ("COMPLETED", str(2 * failed)) in limits
    # What takes seconds runs where Snakemake does.
    assert not re.search(r"rule_(plan|table|site)", ended)


def test_a_gpu_is_asked_for_as_a_generic_resource(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(
        "rule one:\n    output: 'gpu.txt'\n    resources: gpu=1, mem_mb=200, runtime=5\n"
        "    shell: 'echo $CUDA_VISIBLE_DEVICES > {output}'\n"
    )
    environment = {k: v for k, v in cluster.environment.items() if k != "CUDA_VISIBLE_DEVICES"}
    subprocess.run(["snakemake", *PROFILE], cwd=tmp_path, env=environment, timeout=300, check=True)
    assert (tmp_path / "gpu.txt").read_text() in ("0\n", "1\n")
