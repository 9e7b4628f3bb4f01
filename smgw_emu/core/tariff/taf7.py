"""TAF7, reading series (TR-03109-1 v1.0 4.2.2.7, T28).

Every registration period gives one line of the value list; tariffs are formed outside the gateway.
One meter, a list of registers. There is no derived list: the series is the origin list itself.
Also used for periodic grid-state values with a resolution of its own (GW-44).

Parameters: ``period_s``, ``capture_time`` (dispatch).
"""

from __future__ import annotations

from typing import ClassVar

from smgw_emu.core.tariff import base
from smgw_emu.core.tariff.terms import Terms


class RuleSet(base.RuleSet):
    """The series, and daily values."""

    TAF: ClassVar = 7
    NAME: ClassVar = "Zählerstandsgangmessung"
    DATABASES: ClassVar = ("origin", "daily")
    DISPATCH: ClassVar = "daily"
    DELIVERED: ClassVar = ("origin",)
    JOINED: ClassVar = False
    COUNTS: ClassVar = False

    @classmethod
    def faults(cls, terms: Terms) -> base.Faults:
        """A reading series is of one meter."""
        return [("meters", "TAF7 reads one meter")] if len(terms.meters) != 1 else []
