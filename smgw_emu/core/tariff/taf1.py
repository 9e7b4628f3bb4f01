"""TAF1, data-saving tariffs (TR-03109-1 v1.0 4.2.2.1).

One reading per billing period leaves the gateway: the sum of the readings of the consumer's meters
at the end of the period. A billing period is not shorter than one month; here it is the calendar
month of legal local time (``taf1.min_period``). The derived list has one line per period.
"""

from __future__ import annotations

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.legal_time import month_start

DATABASES = ("origin", "derived", "daily")


def is_period_end(target: DeviceTime) -> bool:
    """Return whether a billing period ends at ``target``: local midnight on the 1st."""
    return month_start(target) == target
