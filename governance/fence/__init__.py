"""The fence: permission and record commit together.

Every governed write moves the epoch as the last act of its transaction; every intent is committed only after
comparing the epoch it was decided under. `docs/architecture.md` tells why this is enough.
"""

FENCE_KEY = 0x6761_7465
"""PostgreSQL advisory lock: shared by group commits, exclusive by the last act of a governed transaction."""

EPOCH_CHANNEL = "gatehouse_epoch"
"""PostgreSQL NOTIFY channel. A hint only: correctness never depends on its arrival."""
