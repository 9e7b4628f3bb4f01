"""How long values are kept, and what goes first when the store is full.

Rules (TR-03109-1 v1.0 4.3.3 no. 12, 4.2.2.6.1, 5.2, 5.3.2; numbers in the profile's
``[retention]``):

* Value lists: ``values_months`` (15 months, billing-relevant data), daily values ``daily_days``
  (six weeks), system and consumer log ``log_months``. The calibration log is never shortened.
* When the store has passed ``capacity_kib``, lines go before that age, oldest day first over all
  lists, but none before the end of its billing period and ``least_months`` more, whichever
  contract it serves. Each time is logged with the bound.
* What may not go stays, whatever the size: the limit of the administrator has raised its event long
  before (SEC-10).
"""

from __future__ import annotations

from collections.abc import Iterable

from smgw_emu.core.billing import last_edge
from smgw_emu.core.instants import DAY, DeviceTime
from smgw_emu.core.legal_time import billing_day, month_at, month_index, next_day_start
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.store import Store
from smgw_emu.core.tariff.terms import Terms
from smgw_emu.profiles import Retention as Limits

LISTS = ("origin", "derived", "calculated")
_MONTH = 31 * DAY


class Retention:
    """Drops what may go.

    Args:
        store, logbooks: of the gateway.
        limits: of the profile.
    """

    def __init__(self, store: Store, logbooks: Logbooks, limits: Limits) -> None:
        self._store = store
        self._logbooks = logbooks
        self._limits = limits

    def prune(self, now: DeviceTime) -> None:
        """Drop what its retention no longer covers; the caller holds the transaction."""
        keep = self._limits
        self._logbooks.prune(now + -keep.log_months * _MONTH)
        self._store.drop_readings("daily", now + -keep.daily_days * DAY)
        for database in LISTS:
            self._store.drop_readings(database, now + -keep.values_months * _MONTH)

    def protected_from(self, now: DeviceTime, contracts: Iterable[Terms] = ()) -> DeviceTime:
        """Return the bound from which no line goes early.

        The begin of the oldest billing period that ended less than ``least_months`` full months
        ago, over all contracts.
        """
        back = month_at(month_index(billing_day(now)) - self._limits.least_months)
        return min([back, *(last_edge(terms.point, terms.clock, back) for terms in contracts)])

    def make_room(self, now: DeviceTime, contracts: Iterable[Terms] = ()) -> int:
        """Drop the oldest days until the store is below its capacity; returns the lines."""
        limit = self._limits.capacity_kib
        if self._store.used_kib() <= limit:
            return 0
        bound, dropped = self.protected_from(now, contracts), 0
        with self._store.transaction():
            oldest = self._store.oldest_reading(LISTS)
            until = oldest
            while oldest is not None and self._store.used_kib() > limit:
                until = min(next_day_start(oldest), bound)
                if oldest >= until:
                    break
                dropped += sum(self._store.drop_readings(name, until) for name in LISTS)
                oldest = self._store.oldest_reading(LISTS)
            if dropped and until is not None:
                self._logbooks.write(
                    "values-dropped", now, count=dropped, until=until.iso(), limit=limit
                )
        return dropped
