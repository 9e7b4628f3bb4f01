"""TAF1, data-saving tariffs (TR-03109-1 v1.0 4.2.2.1, T20).

One reading per billing period leaves the gateway: the sum (or difference) of the readings of the
consumer's meters at the end of the period. A billing period is not shorter than one month. The
derived list has one line per register at each edge of a billing period.
"""

from __future__ import annotations

from typing import ClassVar

from smgw_emu.core.tariff import base
from smgw_emu.core.tariff.terms import Terms


class RuleSet(base.RuleSet):
    """Sums at the edges of billing periods."""

    TAF: ClassVar = 1
    NAME: ClassVar = "Datensparsame Tarife"

    @classmethod
    def faults(cls, terms: Terms) -> base.Faults:
        """A billing period has at least one month (4.2.2.1.1)."""
        if terms.point.billing[1] != "M":
            return [("billing_period", "TAF1: not shorter than one month")]
        return []
