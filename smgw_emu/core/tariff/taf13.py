"""TAF13, visualisation over the WAN (TR-03109-1 v1.0 4.2.5.3; informative).

The lists of other contracts of the same consumer are provided to a participant that displays them.
Nothing is registered for it: what the ``sources`` have written is sent once a day.

Parameters: ``sources``, ``capture_time`` (dispatch).
"""

from __future__ import annotations

from typing import ClassVar

from smgw_emu.core.tariff import base


class RuleSet(base.RuleSet):
    """The lists of other contracts."""

    TAF: ClassVar = 13
    NAME: ClassVar = "Bereitstellung von Messwertsätzen zur Visualisierung für den Letztverbraucher"
    DATABASES: ClassVar = ("origin", "derived", "calculated", "daily")
    STORED: ClassVar = False
    DISPATCH: ClassVar = "daily"
    DELIVERED: ClassVar = ("origin", "derived", "calculated")
    COUNTS: ClassVar = False
