"""TEST master keys of virtual meters."""

from __future__ import annotations

import hashlib


def master_key(seed: int, meter: str) -> bytes:
    """Return the TEST master key of a virtual meter: from the seed, so that a run repeats."""
    return hashlib.sha256(f"smgw-emu TEST MK0 {seed} {meter.upper()}".encode()).digest()[:16]
