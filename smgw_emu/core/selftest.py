"""Port between whoever may ask for a self-test and the machine that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from smgw_emu.core.instants import WorldTime


class SelfTestAnswer(StrEnum):
    """What a request for a self-test gets (IF_GW_CON A-2.7, manual E-4.4)."""

    STARTED = "started"
    RUNNING = "running"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class SelfTestReply:
    """Answer and, when locked, the whole seconds until the next test may start (rounded up)."""

    answer: SelfTestAnswer
    wait_s: int = 0


class SelfTestPort(Protocol):
    """What the HAN interface needs of the self-test."""

    def request(self, now: WorldTime, reason: str) -> SelfTestReply:
        """Ask for a self-test; starts one only if none runs and the lock has passed."""
        ...
