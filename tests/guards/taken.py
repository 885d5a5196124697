"""What is taken out, and which tests must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    """promise: in words. file, old, new: the change that takes the guard out. tests: arguments of
    pytest for those that must pass with it and fail without.
    """

    promise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def taken_out(self, text: str) -> str:
        """The file's text without the guard. Raises ValueError if it is not there exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: has {text.count(self.old)} times: {self.old}")
        return text.replace(self.old, self.new)


CHECKPOINT = "tests/numerics/test_checkpoint.py"
GUARDS = [
    Guard(
        "a damaged checkpoint is noticed",
        "workflows/checkpoint.py",
        "    if _checksum(tensors, metadata) != wanted:\n",
        "    if False:\n",
        (CHECKPOINT, "-k", "damage_anywhere"),
    ),
    Guard(
        "the checkpoint before the last is kept",
        "workflows/checkpoint.py",
        "before=lambda: _keep(state)",
        "before=lambda: None",
        (CHECKPOINT, "-k", "before_a_damaged_one"),
    ),
    Guard(
        "a file has its name only once it is whole",
        "workflows/files.py",
        "        write(temporary)\n",
        "        write(path)\n        write(temporary)\n",
        ("tests/steps/test_killed.py", "-k", "collection and cvq_vae"),
    ),
    Guard(
        "a training goes on only from a checkpoint of its own settings, data and code",
        "workflows/checkpoint.py",
        '    if metadata["identity"] != identity:\n',
        "    if False:\n",
        ("tests/generation/test_training.py", "-k", "other"),
    ),
    Guard(
        "a training that diverges at once takes no other's state for its own",
        "workflows/steps/train.py",
        "if history and (whole :=",
        "if (whole :=",
        ("tests/steps/test_divergence.py", "-k", "divergence_is_a_result"),
    ),
    Guard(
        "samples of other code are told from today's",
        "workflows/verify.py",
        'if "code" in sampled and first(sampled["code"]) != first(sampling_code(',
        "if False and ((",
        ("tests/test_verify.py", "-k", "way_of_sampling"),
    ),
    Guard(
        "a resumed optimiser's moments have their parameters' layout",
        "workflows/checkpoint.py",
        "torch.empty_like(like).copy_(value).detach() if moment else value",
        "value",
        ("tests/steps/test_killed.py", "-k", "training and vq_vae_ema"),
    ),
    Guard(
        "a cell is trained by one process at a time",
        "workflows/files.py",
        "            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        ("tests/steps/test_steps.py", "-k", "claimed"),
    ),
    Guard(
        "a step ends with whoever asked for it",
        "workflows/preload.py",
        "        os.kill(child, signal.SIGTERM)\n",
        "        pass\n",
        ("tests/steps/test_preload.py", "-k", "ends_with_whoever"),
    ),
    Guard(
        "a step that fails fails its job",
        "workflows/rules/common.smk",
        "set -euo pipefail; ",
        "",
        ("tests/steps/test_failing.py", "-k", "behind_a_pipe"),
    ),
    Guard(
        "of a step that is killed its shell says what to do",
        "workflows/rules/common.smk",
        "trap '. workflows/ended.sh' EXIT; ",
        "",
        ("tests/steps/test_failing.py", "-k", "is_killed"),
    ),
    Guard(
        "a caption says no settings that a cell was not made with",
        "workflows/steps/collect.py",
        "return not _outdated(cell, planned)",
        "return True",
        ("tests/render/test_collect.py", "-k", "left_out"),
    ),
    Guard(
        "tables can be made while a cell is made again",
        "workflows/steps/collect.py",
        "    if gone:\n",
        "    if False:\n",
        ("tests/render/test_collect.py", "-k", "being_made_again"),
    ),
    Guard(
        "a published number is shown or refused",
        "workflows/steps/tables.py",
        '            _check_place(number, plan, f"{file}: line {line}")\n',
        "            pass\n",
        ("tests/render/test_tables.py", "-k", "published"),
    ),
    Guard(
        "an archive cannot name a file outside itself",
        "workflows/data/archives.py",
        '    if PurePosixPath(name).is_absolute() or ".." in parts:\n',
        "    if False:\n",
        ("tests/data/test_hostile.py", "-k", "hostile_members"),
    ),
    Guard(
        "a document shows names and runs none",
        "workflows/render/pages.py",
        "autoescape=True",
        "autoescape=False",
        ("tests/site/test_injection.py", "-k", "a_document_shows"),
    ),
    Guard(
        "gradients of gathered latents are summed over processes",
        "workflows/processes.py",
        'accelerator.reduce(gradient.contiguous(), "sum")',
        "gradient.contiguous()",
        ("tests/distributed/test_processes.py", "-k", "four_processes"),
    ),
    Guard(
        "a job that Slurm lost is tried again",
        "workflows/profiles/slurm/config.yaml",
        "retries: 3\n",
        "",
        ("tests/slurm/test_one_node.py", "-k", "profile_retries"),
    ),
    Guard(
        "an image installs nothing but what the lock has hashes of",
        "Containerfile",
        "--require-hashes ",
        "",
        ("tests/test_container.py", "-k", "by_its_hashes"),
    ),
]
