"""Test a quantiser against CVQ-VAE: `python -m workflows.conformance my_module:build`.

`build(codebook_size, code_dim)` returns a quantiser of this project, or a module with the official
signature or with the signature of vector-quantize-pytorch. If `build` also takes `anchors`
("closest", "probability" or "random"), `offline` or `contrastive` (True or False), the properties
of these options are tested too.
"""

from __future__ import annotations

import argparse
import pkgutil

from workflows.config import cli
from workflows.conformance.properties import PROPERTIES, check_all
from workflows.conformance.subject import D, K, Subject
from workflows.errors import ConfigError

VERDICTS = {True: "holds", False: "fails", None: "not applicable"}


def main(build: str, anchors: str) -> int:
    """Print a line for each property. Returns 1 if a required property fails, else 0.

    Raises ConfigError if the quantiser cannot be built.
    """
    try:
        subject = Subject(pkgutil.resolve_name(build), anchors)
        subject.make()
    except Exception as error:
        called = f"{build}: build(codebook_size={K}, code_dim={D}) cannot be called"
        raise ConfigError(f"{called}: {type(error).__name__}: {error}") from error
    failed = []
    for name, finding in check_all(subject).items():
        required = PROPERTIES[name][1]
        verdict = VERDICTS[finding.holds] + ("" if required else " (not required)")
        print(f"{name:31} {verdict:30} {finding.numbers}")
        if required and finding.holds is False:
            failed.append(name)
    if failed:
        print(f"Required properties that fail: {', '.join(failed)}")
    else:
        print("No required property fails")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="conformance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("build", metavar="my_module:build")
    parser.add_argument(
        "--anchors",
        choices=["closest", "probability", "random", "none"],
        default="closest",
        help="the anchors of a `build` without an argument `anchors`; none for a plain VQ",
    )
    cli.run(parser, main)
