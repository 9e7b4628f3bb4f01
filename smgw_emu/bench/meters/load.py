"""A household's load from a seed: deterministic, in integers, any moment computable on its own."""

from __future__ import annotations

import random
from functools import lru_cache

from smgw_emu.core.instants import HOUR, MINUTE, WorldTime

_SLOT = 5 * MINUTE
# Typical shape of a household over the hours of a day in UTC, watts (own sketch of an H0 profile).
_SHAPE = (
    180, 150, 140, 140, 150, 220, 420, 520, 460, 400, 420, 560,
    520, 430, 400, 430, 560, 760, 840, 780, 640, 480, 340, 230,
)  # fmt: skip
# A small roof plant, watts.
_SUN = (0, 0, 0, 0, 0, 40, 180, 520, 980, 1500, 1900, 2100, 2100, 1900, 1500, 980, 480, 150, 20,
        0, 0, 0, 0, 0)  # fmt: skip


class LoadProfile:
    """Power at the metering point.

    Args:
        seed: same seed, same load.
        solar: whether a roof plant feeds in.
    """

    def __init__(self, seed: int, *, solar: bool = False) -> None:
        self._seed = seed
        self._solar = solar
        self._slot_power = lru_cache(maxsize=1024)(self._compute)

    def power(self, moment: WorldTime) -> int:
        """Return the power in watts, positive for consumption."""
        return self._slot_power(moment.ns // _SLOT)

    def energy(self, begin: WorldTime, end: WorldTime) -> tuple[int, int]:
        """Return consumed and fed-in energy between two moments in watt-nanoseconds."""
        consumed = fed_in = 0
        at = begin.ns
        while at < end.ns:
            slot = at // _SLOT
            until = min(end.ns, (slot + 1) * _SLOT)
            watts = self._slot_power(slot)
            if watts >= 0:
                consumed += watts * (until - at)
            else:
                fed_in -= watts * (until - at)
            at = until
        return consumed, fed_in

    def _compute(self, slot: int) -> int:
        chance = random.Random(f"{self._seed}:{slot}")  # noqa: S311  # a load, not a secret
        hour = slot * _SLOT // HOUR % 24
        watts = _SHAPE[hour] * chance.randint(60, 140) // 100
        if chance.randint(0, 99) < 4:
            watts += chance.choice((1200, 2000, 2200))  # kettle, oven, washing machine
        if self._solar:
            watts -= _SUN[hour] * chance.randint(30, 110) // 100
        return watts
