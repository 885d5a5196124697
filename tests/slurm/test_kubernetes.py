"""What a Kubernetes cluster would be given, as far as it can be seen without one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from snakemake_executor_plugin_kubernetes import Executor

from tests.slurm.conftest import ROOT, environment_of

PROFILE = ROOT / "workflows" / "profiles" / "kubernetes"
Planned = Callable[..., subprocess.CompletedProcess[str]]
CELL = "results/smoke/cells/mnist_5k"


class Batch:
    """Kubernetes' interface for jobs, which keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def create_namespaced_job(self, namespace: str, body: Any) -> Any:
        self.given.append(body)
        return body


def manifest(resources: dict[str, Any]) -> dict[str, Any]:
    """The job that the plugin makes of a step with these resources, as Kubernetes names things."""
    batch, silent = Batch(), SimpleNamespace(debug=lambda _: None, info=lambda _: None)
    executor = Executor.__new__(Executor)
    made = {
        "format_job_exec": lambda job: "python -m snakemake",
        "report_job_submission": lambda info: None,
        "workflow": SimpleNamespace(
            deployment_settings=SimpleNamespace(deployment_method=set()),
        ),
        "logger": silent,
        "run_namespace": "run",
        "container_image": "image",
        "persistent_volumes": [],
        "k8s_service_account_name": None,
        "secret_envvars": {},
        "k8s_cpu_scalar": 0.95,
        "privileged": False,
        "batchapi": batch,
        "namespace": "default",
        "lock": threading.Lock(),
    }
    for name, value in made.items():
        setattr(executor, name, value)
    executor.run_job(
        SimpleNamespace(resources=resources, jobid=1, attempt=1, is_containerized=False)
    )
    (body,) = batch.given
    return body.to_dict()["spec"]["template"]["spec"]


def resources_of(**more: Any) -> dict[str, Any]:
    """The profile's, for a first attempt, with those of a rule."""
    defaults = yaml.safe_load((PROFILE / "config.yaml").read_text())["default-resources"]
    known = {
        key: eval(str(value), {"attempt": 1})
        for key, value in defaults.items()
        if key != "gpu_manufacturer"
    }
    return {**known, "gpu_manufacturer": defaults["gpu_manufacturer"], "_cores": 1, **more}


def test_a_pod_asks_for_what_its_step_needs() -> None:
    (container,) = manifest(resources_of(mem_mb=4321))["containers"]
    assert container["image"] == "image"
    assert container["resources"]["requests"]["memory"] == "4321M"
    assert not any("gpu" in name for name in container["resources"]["requests"])


def test_a_gpu_is_a_limit() -> None:
    """Kubernetes refuses a GPU that is requested and not limited."""
    pod = manifest(resources_of(gpu=1))
    (container,) = pod["containers"]
    asked = container["resources"]
    assert asked["requests"]["nvidia.com/gpu"] == asked["limits"]["nvidia.com/gpu"] == "1"
    assert [t["key"] for t in pod["tolerations"]] == ["nvidia.com/gpu"]


class Nothing(BaseHTTPRequestHandler):
    """A store of objects that has none."""

    def do_HEAD(self) -> None:
        self.send_error(404)

    do_GET = do_HEAD

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def planned() -> Iterator[Planned]:
    """A dry run with the profile and an empty store."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Nothing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = f"http://127.0.0.1:{server.server_port}"
    profile = ["--profile", str(PROFILE), "--container-image", "image"]
    store = ["--default-storage-prefix", "s3://bucket/folder", "--storage-s3-endpoint-url", place]
    keys = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.slurm.planned",
                *profile,
                *store,
                "--config",
                "budget=smoke",
                *options,
            ],
            cwd=ROOT,
            env=environment_of(**keys),
            capture_output=True,
            text=True,
            timeout=300,
        )

    yield run
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def plan(planned: Planned) -> dict[str, dict[str, Any]]:
    """The jobs of three cells, by their messages."""
    targets = [
        f"{CELL}/ldm/vq_vae-D4-conditional/seed0/metrics.csv",
        "results/smoke/cells/photo_patches/movq/D4/seed0/metrics.csv",
    ]
    done = planned("gpu=1", "hours=1", "--", *targets)
    assert done.returncode == 0, done.stderr[-3000:]
    jobs = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(jobs) > 10
    return {job["message"]: job for job in jobs}


@pytest.mark.parametrize(
    ("message", "needed"),
    [
        ("Train mnist_5k/vq_vae/D4/seed0", ["mnist_5k/train.npy"]),
        ("Train photo_patches/movq/D4/seed0", ["photo_patches/train.npy", "lpips_vgg.safetensors"]),
        ("Latents of mnist_5k/vq_vae/D4/seed0", ["mnist_5k/train.npy"]),
        (
            "Train mnist_5k/ldm/vq_vae-D4-conditional/seed0",
            ["vq_vae/D4/seed0/latents.safetensors", "mnist_5k/labels.npy"],
        ),
        ("Sample mnist_5k/ldm/vq_vae-D4-conditional/seed0", ["vq_vae/D4/seed0/model.safetensors"]),
        ("Measure the samples of mnist_5k/ldm/vq_vae-D4-conditional/seed0", ["mnist_5k/train.npy"]),
        ("Evaluate photo_patches/movq/D4/seed0", ["photo_patches/test.npy"]),
        ("Inception features of mnist_5k's training images", ["mnist_5k/train.npy"]),
        (
            "Check every dataset and weight file against its digest",
            ["mnist_5k/test.npy", "mnist_5k/labels.npy"],
        ),
    ],
)
def test_a_step_names_every_file_that_must_be_fetched(
    plan: dict[str, dict[str, Any]], message: str, needed: list[str]
) -> None:
    inputs = plan[message]["inputs"]
    assert all(file.startswith("s3://bucket/folder/") for file in inputs), inputs
    for name in needed:
        assert any(file.endswith(f"/{name}") for file in inputs), inputs


def test_steps_on_a_gpu_ask_for_one_and_no_longer_than_allowed(
    plan: dict[str, dict[str, Any]],
) -> None:
    on_processors = ("Prepare", "Verify", "Check")
    for message, job in plan.items():
        asked = job["resources"]
        assert ("gpu" in asked) != message.startswith(on_processors), message
        assert 1 <= asked["runtime"] <= 60, message
        assert asked["mem_mb"] >= 2000, message
        assert asked["scale"] == 0


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("gpu=2", "config: gpu: '2' is not allowed; allowed: 0 or 1"),
        (
            "hours=0",
            "config: hours: '0' is not allowed; allowed: a whole number of hours, 1 or more",
        ),
        ("hours=soon", "config: hours: 'soon' is not allowed"),
    ],
)
def test_a_bad_setting_is_refused_by_name(planned: Planned, option: str, said: str) -> None:
    done = planned(option, "--", "all_cells")
    assert done.returncode == 1
    assert said in done.stdout + done.stderr


def test_the_file_of_the_profile_is_where_snakemake_looks() -> None:
    assert (Path(ROOT / "profiles") / "kubernetes" / "config.yaml").samefile(
        PROFILE / "config.yaml"
    )
