"""Where a number comes from: commit, code fingerprint, device."""

from __future__ import annotations

import ast
import hashlib
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ROOMS = ("models", "baselines", "workflows")
# What runs make, as git's pathspecs.
OUTPUTS = (":(exclude)results", ":(exclude)figures", ":(exclude)benchmarks/results")
# The registry counts by the wanted builder alone, data by its digest, and recording a commit
# changes no number.
OUTSIDE = ("workflows.registry", "workflows.data", "workflows.provenance")


def commit() -> tuple[str, bool]:
    """The checked-out commit and whether tracked files differ; ("unknown", True) outside git.

    What runs and benchmarks make, results and figures, does not count: it changes no run.
    """
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True
        )
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", *OUTPUTS],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return "unknown", True
    if head.returncode:
        return "unknown", True
    return head.stdout.strip(), bool(status.stdout.strip())


def lock() -> str:
    """The SHA-256 of the file that pins every package, 64 hexadecimal digits."""
    return hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()


def origin(device: str, threads: int) -> dict[str, Any]:
    """What every record says of the process that made it: commit, dirty, lock, device, threads."""
    head, dirty = commit()
    return {
        "commit": head,
        "dirty": dirty,
        "lock_sha256": lock(),
        "device": device,
        "threads": threads,
    }


# Of the registry, what every training of a stage builds; VQGAN's also a critic.
BUILT = {
    1: ("build_autoencoder", "build_objective", "build_optimiser", "loss_weights"),
    2: ("build_space", "build_backbone", "build_noise", "build_sampler", "predict_noise"),
}


@cache
def training_code(stage: int, method: str, network: str) -> str:
    """The fingerprint of what trains an autoencoder (stage 1) or a diffusion model (stage 2)."""
    if stage == 2:
        return fingerprint("workflows.steps.train_diffusion", f"_{method}", *BUILT[2])
    against = ("build_adversary",) if network == "vqgan" else ()
    return fingerprint("workflows.steps.train", f"_{method}", f"_{network}", *BUILT[1], *against)


@cache
def sampling_code(method: str) -> str:
    """The fingerprint of what samples a diffusion model."""
    return fingerprint("workflows.steps.sample", f"_{method}", *BUILT[2])


def fingerprint(step: str, *names: str) -> str:
    """A digest of the code that a step really uses, for Snakemake's rerun decision.

    step: a module such as `workflows.steps.train`. names: of functions of the registry, such as
    `_cvq_vae`; each adds itself, those that it calls and what they import. Comments, docstrings and
    layout do not count; the registry counts only by these, so that a new method reruns nothing.
    """
    modules = set(_closure([step]))
    digest = hashlib.sha256()
    for function in _called(names):
        digest.update(ast.dump(_bare(function)).encode())
        modules |= set(_closure(_imports(function)))
    for module in sorted(modules):
        digest.update(module.encode())
        digest.update(ast.dump(_bare(_parse(module))).encode())
    return digest.hexdigest()[:16]


def templates(package: str) -> str:
    """A digest of a package's templates, which a fingerprint does not see: they are no modules.

    package: such as `workflows.render`, whose templates are in its folder of that name.
    """
    folder = ROOT.joinpath(*package.split("."), "templates")
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:16]


def _closure(modules: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    todo = list(modules)
    while todo:
        module = todo.pop()
        if module in seen or module.startswith(OUTSIDE) or _file(module) is None:
            continue
        seen.add(module)
        todo.extend(_imports(_parse(module)))
    return seen


def _imports(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in found if name.split(".")[0] in ROOMS]


def _file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _parse(module: str) -> ast.Module:
    path = _file(module)
    assert path is not None, module
    return ast.parse(path.read_text())


def _called(names: Iterable[str]) -> list[ast.FunctionDef]:
    """Functions of the registry, and those of it that they call, by their names in order."""
    body = _parse("workflows.registry").body
    known = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    wanted, found = list(names), set[str]()
    while wanted:
        name = wanted.pop()
        if name not in known:
            raise KeyError(f"workflows/registry.py: no function {name}")
        if name not in found:
            found.add(name)
            inside = (node.id for node in ast.walk(known[name]) if isinstance(node, ast.Name))
            wanted += [other for other in inside if other in known]
    return [known[name] for name in sorted(found)]


def _bare(tree: ast.AST) -> ast.AST:
    """The tree without docstrings."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
            and isinstance(body[0].value.value, str)
        ):
            node.body = body[1:]
    return tree
