"""TAF6, reading on demand (TR-03109-1 v1.0 4.2.2.6, T27).

The reading of every meter at the start of each billing calendar day (electricity 00:00, gas 06:00)
is kept for six weeks, always, in the background: list ``daily`` of every contract holds it, with
the derived registers beside. The administrator retrieves the values of one day on behalf of an
entitled participant; each retrieval is in the consumer's log.

Parameters: ``capture_time``.
"""

from __future__ import annotations

from typing import ClassVar

from smgw_emu.core.tariff import base


class RuleSet(base.RuleSet):
    """Daily values only."""

    TAF: ClassVar = 6
    NAME: ClassVar = "Abruf von Messwerten im Bedarfsfall"
    DATABASES: ClassVar = ("daily",)
    STORED: ClassVar = False
    DISPATCH: ClassVar = "request"
    DELIVERED: ClassVar = ("daily",)
    JOINED: ClassVar = False
