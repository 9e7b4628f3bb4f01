"""A bound on how often one thing is told: what flaps must not flood a log."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from smgw_emu.core.instants import MINUTE, DeviceTime

MOST, WINDOW = 6, 15 * MINUTE  # own choice
_KEYS = 1000


class Sparing:
    """Allows each key so many entries per window.

    Args:
        most: entries.
        window: nanoseconds.
    """

    def __init__(self, most: int = MOST, window: int = WINDOW) -> None:
        self._most = most
        self._window = window
        self._told: dict[Hashable, deque[DeviceTime]] = {}

    def allow(self, key: Hashable, now: DeviceTime) -> bool:
        """Tell whether one more entry is allowed, and count it if so."""
        told = self._told.get(key)
        if told is None:
            if len(self._told) >= _KEYS:
                self._told.clear()
            told = self._told[key] = deque()
        while told and not 0 <= now - told[0] < self._window:
            told.popleft()
        if len(told) >= self._most:
            return False
        told.append(now)
        return True

    def next(self, key: Hashable, now: DeviceTime) -> DeviceTime:
        """Return when the next entry will be allowed."""
        told = self._told.get(key)
        if not told or len(told) < self._most:
            return now
        return told[0] + self._window
