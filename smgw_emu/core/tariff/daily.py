"""Daily values: the background half of TAF6 (TR-03109-1 v1.0 4.2.2.6).

For every meter the reading at the start of each calendar day of legal local time is kept for six
weeks (parameter ``capture-time`` of the usage point, electricity 00:00).
"""

from __future__ import annotations

from datetime import time

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.legal_time import at_local, local


def is_daily_target(target: DeviceTime, clock: time) -> bool:
    """Return whether the local clock shows ``clock`` at ``target``."""
    return at_local(local(target), clock) == target
