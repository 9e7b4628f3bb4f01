"""The life of a gateway from the factory to disposal (GW-20, GW-21, GW-28, GW-31).

Theory of operation. A gateway leaves the factory *pre-personalised*: Guetesiegel certificates and
the administrator's address. Its first MANAGEMENT channel begins the *first configuration*; Wirk
certificates make it *personalised*; the first evaluation profile puts it into *operation*. The
administrator ends all contracts (*decommissioned*); then keys may be destroyed (*disposed*), after
which nothing leads back.

================= ============ ================= ==================
state             input        next              source
================= ============ ================= ==================
pre-personalised  contact      first-config.     GW-22
pre-personalised  certificates personalised      GW-22
first-config.     certificates personalised      GW-21, HW-17
any of these      contract     operation         GW-25
any but disposed  end          decommissioned    GW-28
decommissioned    dispose      disposed          GW-31
================= ============ ================= ==================

Inputs that are not in the table change nothing: a second contact is no news.
"""

from __future__ import annotations

from enum import StrEnum

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.store import Store

_META = "life"


class Life(StrEnum):
    """Where a gateway is in its life."""

    PRE_PERSONALISED = "pre-personalised"
    FIRST_CONFIGURATION = "first-configuration"
    PERSONALISED = "personalised"
    OPERATION = "operation"
    DECOMMISSIONED = "decommissioned"
    DISPOSED = "disposed"


class LifeInput(StrEnum):
    """What moves it on."""

    CONTACT = "contact"
    CERTIFICATES = "certificates"
    CONTRACT = "contract"
    END = "end"
    DISPOSE = "dispose"


TABLE = {
    (Life.PRE_PERSONALISED, LifeInput.CONTACT): Life.FIRST_CONFIGURATION,
    (Life.PRE_PERSONALISED, LifeInput.CERTIFICATES): Life.PERSONALISED,
    (Life.FIRST_CONFIGURATION, LifeInput.CERTIFICATES): Life.PERSONALISED,
    (Life.PRE_PERSONALISED, LifeInput.CONTRACT): Life.OPERATION,
    (Life.FIRST_CONFIGURATION, LifeInput.CONTRACT): Life.OPERATION,
    (Life.PERSONALISED, LifeInput.CONTRACT): Life.OPERATION,
    (Life.PRE_PERSONALISED, LifeInput.END): Life.DECOMMISSIONED,
    (Life.FIRST_CONFIGURATION, LifeInput.END): Life.DECOMMISSIONED,
    (Life.PERSONALISED, LifeInput.END): Life.DECOMMISSIONED,
    (Life.OPERATION, LifeInput.END): Life.DECOMMISSIONED,
    (Life.DECOMMISSIONED, LifeInput.DISPOSE): Life.DISPOSED,
}


class LifeCycle:
    """The remembered state of one gateway.

    Args:
        store: where it is remembered.
        logbooks: every change is logged and reported.
    """

    def __init__(self, store: Store, logbooks: Logbooks) -> None:
        self._store = store
        self._logbooks = logbooks

    @property
    def state(self) -> Life:
        """Where the gateway is."""
        return Life(self._store.get_meta(_META) or Life.PRE_PERSONALISED)

    @property
    def ended(self) -> bool:
        """Whether nothing may be configured any more."""
        return self.state in {Life.DECOMMISSIONED, Life.DISPOSED}

    def apply(self, event: LifeInput, now: DeviceTime) -> bool:
        """Move on, if the table says so; returns whether anything changed."""
        old = self.state
        new = TABLE.get((old, event))
        if new is None:
            return False
        with self._store.transaction():
            self._store.set_meta(_META, new)
            self._logbooks.write("life-cycle", now, old=old, new=new)
        return True
