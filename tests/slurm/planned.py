"""`python -m tests.slurm.planned ARGUMENTS`: what `snakemake --dry-run ARGUMENTS` would run.

One JSON object a line and job on standard output: `message, inputs, resources, limits`. Snakemake
prints none of the last three of a rule that has a message.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from snakemake import cli
from snakemake.executors import dryrun

plain = dryrun.Executor.run_job


def run_job(self: Any, job: Any) -> None:
    known = {
        "message": job.message or job.rule.name,
        "inputs": [str(file) for file in job.input],
        "resources": dict(job.resources),
        # How much of each resource all jobs that run at a time have together.
        "limits": dict(self.workflow.scheduler.global_resources),
    }
    print(json.dumps(known, default=str), file=sys.__stdout__)
    plain(self, job)


if __name__ == "__main__":
    dryrun.Executor.run_job = run_job
    cli.main(["--dry-run", *sys.argv[1:]])
