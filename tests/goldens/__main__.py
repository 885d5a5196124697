"""Record the goldens anew: `python -m tests.goldens`."""

from __future__ import annotations

import json

import torch

from tests.goldens.golden import FILE, recorded
from tests.goldens.test_goldens import GOLDENS


def main() -> None:
    """Write goldens.json, and say which numbers moved although their version did not."""
    # As the tests compute: sums in one order.
    torch.set_num_threads(1)
    before, records = recorded(), {}
    for golden in GOLDENS:
        records[str(golden)] = {"version": golden.version, "numbers": golden.numbers()}
        was = before.get(str(golden), records[str(golden)])
        moved = golden.moved(was["numbers"], records[str(golden)]["numbers"])
        if moved and was["version"] == golden.version:
            print(f"still version {golden.version}: {golden.complaint(moved)}")
    rounded = json.loads(json.dumps(records), parse_float=lambda x: float(f"{float(x):.7g}"))
    FILE.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
