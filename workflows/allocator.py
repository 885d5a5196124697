"""How a process that trains or measures handles its memory."""

from __future__ import annotations

# glibc gives large blocks back to the system at once and takes them again at the next step: half
# a million page faults an epoch, 8 to 15 % of a training step, a quarter at batch 1024. Read when a
# process starts; other systems ignore these.
KEEPS_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
}
