"""A step that fails fails its job, whatever it leaves behind."""

from __future__ import annotations

from pathlib import Path

from tests.faults.place import make


def test_a_step_that_fails_behind_a_pipe_is_a_failure(tmp_path: Path) -> None:
    """Its output is there before it fails, so that nothing but its status can tell."""
    place = make(tmp_path / "copy")
    step = place.root / "workflows" / "steps" / "weights.py"
    step.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from workflows.weights import NETWORKS\n"
        "out = Path(sys.argv[sys.argv.index('--out') + 1])\n"
        "out.mkdir(parents=True, exist_ok=True)\n"
        "for name in NETWORKS:\n"
        "    (out / f'{name}.safetensors').touch()\n"
        "    (out / f'{name}.json').touch()\n"
        "sys.exit('weights: told to fail')\n"
    )
    done = place.run(".cache/weights/inception.safetensors")
    assert "weights: told to fail" in done.said
    assert done.status == 1, done.said


def test_a_step_that_is_killed_says_what_to_do(tmp_path: Path) -> None:
    """Also where no process waits for it that could: at the last its own may be the one killed."""
    place = make(tmp_path / "copy")
    step = place.root / "workflows" / "steps" / "weights.py"
    step.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    done = place.run(".cache/weights/inception.safetensors")
    said = done.says("killed by signal 9", "for want of memory", "run again")
    assert done.said.count(said) == 1
    assert done.status == 1, done.said
