"""TAF9, TAF10 and TAF14: present values that are sent and shown, never stored.

* TAF9, current feed-in (TR-03109-1 v1.0 4.2.3.1, T30): sent when the administrator asks on behalf
  of a participant, or on events of the profile. Never for billing. With inner signature.
* TAF10, grid-state data (4.2.4.1, T31): sent each ``period_s`` and on events: order of the
  administrator, a value above or below a threshold, a status of the meter. Usually under a
  pseudonym. Without inner signature.
* TAF14, high-frequency values for value-added services (BDEW product list, ``wan.md`` 5.1; of
  later editions: secondary). As TAF10, without events.

The history of their lists is empty; the last reading is the present one (GW-46, HAN-37).

Parameters: ``obis`` (present values too), ``period_s``, ``triggers``, ``pseudonym``.
"""

from __future__ import annotations

from typing import ClassVar

from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.obis import Obis
from smgw_emu.core.tariff import base
from smgw_emu.core.tariff.terms import Terms

MAX_TRIGGERS = 32  # own choice


def trigger_faults(terms: Terms) -> base.Faults:
    """Return what is wrong with the triggers of a profile."""
    faults: base.Faults = []
    for number, trigger in enumerate(terms.point.triggers, 1):
        where = f"triggers/{number}"
        if trigger.kind == "status":
            mask = trigger.mask
            if (
                len(mask) != 8
                or any(c not in "0123456789abcdef" for c in mask)
                or not int(mask, 16)
            ):
                faults.append((where, "mask: 8 hex digits, not all zero"))
            continue
        try:
            if Obis.parse(trigger.obis) not in terms.registers:
                faults.append((where, f"{trigger.obis} is no register of the contract"))
        except RemoteProtocolError as error:
            faults.append((where, str(error)))
    if len(terms.point.triggers) > MAX_TRIGGERS:
        faults.append(("triggers", f"at most {MAX_TRIGGERS}"))
    return faults


class _Volatile(base.RuleSet):
    DATABASES: ClassVar = ("origin",)
    STORED: ClassVar = False
    PRESENT: ClassVar = True
    DELIVERED: ClassVar = ()
    COUNTS: ClassVar = False

    @classmethod
    def faults(cls, terms: Terms) -> base.Faults:
        """One meter; triggers name its registers."""
        faults = trigger_faults(terms)
        if len(terms.meters) != 1:
            faults.append(("meters", f"TAF{cls.TAF} reads one meter"))
        return faults


class CurrentFeedIn(_Volatile):
    """Feed-in power on request or event."""

    TAF: ClassVar = 9
    NAME: ClassVar = "Abruf der Ist-Einspeisung"
    DISPATCH: ClassVar = "event"

    @classmethod
    def faults(cls, terms: Terms) -> base.Faults:
        """One register (T30)."""
        faults = super().faults(terms)
        if len(terms.registers) != 1:
            faults.append(("obis", "TAF9: one register"))
        return faults


class GridState(_Volatile):
    """Grid-state values in a cycle and on events."""

    TAF: ClassVar = 10
    NAME: ClassVar = "Abruf von Netzzustandsdaten"
    DISPATCH: ClassVar = "cycle"
    SIGNED: ClassVar = False


class HighFrequency(_Volatile):
    """Values in a short cycle."""

    TAF: ClassVar = 14
    NAME: ClassVar = "Hochfrequente Messwertbereitstellung"
    DISPATCH: ClassVar = "cycle"
    SIGNED: ClassVar = False

    @classmethod
    def faults(cls, terms: Terms) -> base.Faults:
        """No triggers."""
        faults = super().faults(terms)
        if terms.point.triggers:
            faults.append(("triggers", "TAF14 has none"))
        return faults
