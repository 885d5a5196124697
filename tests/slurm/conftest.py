"""A Slurm cluster of this machine alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "one_node.sh"
COMMANDS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scontrol")
ADVICE = (
    "no Slurm: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge "
    "(Debian and Ubuntu; their services may stay off)"
)
# Daemons are in /usr/sbin, which is not on everybody's path.
PATH = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}:/usr/sbin"


def environment_of(**more: str) -> dict[str, str]:
    """Of a run on the processor, as in a clone without local data."""
    unset = ("CODEBOOK_DATA", "CODEBOOK_PRELOADED")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return {**kept, "PATH": PATH, "CUDA_VISIBLE_DEVICES": "", **more}


@dataclass(frozen=True)
class Cluster:
    """folder: of the cluster's files. environment: what its commands need."""

    folder: Path
    environment: Mapping[str, str]

    def ask(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        return subprocess.run(
            command, env=dict(self.environment), capture_output=True, text=True, check=True
        ).stdout.strip()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A node that is idle; all of it ends with the tests of a module."""
    if os.environ.get("CI_REQUIRES_SLURM") != "1":
        pytest.skip("a Slurm cluster takes five minutes: make slurm-test")
    missing = [name for name in COMMANDS if shutil.which(name, path=PATH) is None]
    assert not missing, f"{ADVICE}; missing: {', '.join(missing)}"
    # Not pytest's folders, whose names are too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    settings = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{folder / 'bin'}:{PATH}"}
    try:
        up = subprocess.run(
            [SCRIPT, "up", folder], env=environment_of(), capture_output=True, text=True
        )
        assert up.returncode == 0, up.stderr
        yield Cluster(folder, environment_of(**settings))
    finally:
        subprocess.run([SCRIPT, "down", folder], env=environment_of(), check=False)
        shutil.rmtree(folder)
