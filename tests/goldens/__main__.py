"""Record the goldens anew: `python -m tests.goldens`."""

from __future__ import annotations

import json

import torch

from tests.goldens.every import GOLDENS
from tests.goldens.golden import FILE, recorded


def main() -> None:
    """Write goldens.json, and say which numbers moved although their version did not."""
    # As the tests compute: sums in one order.
    torch.set_num_threads(1)
    before = recorded() if FILE.exists() else {}
    found = {}
    for golden in GOLDENS:
        name, version, numbers = str(golden), golden.version, golden.computed()
        was = before.get(name, {})
        moved = golden.moved(was["numbers"], numbers) if was.get("version") == version else []
        if moved:
            print(f"still version {version}: {golden.complaint(moved)}")
        found[name] = {"version": version, "numbers": numbers}
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
