"""Who is on the air: the list a technician reads (LMN-05; bounded, whatever is sent)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from lmn.wmbus.link import Address
from smgw_emu.core.instants import WorldTime


@dataclass(slots=True)
class Station:
    """One sender.

    Attributes:
        address: of the meter.
        meter: id of the meter it is configured as, "" for a stranger.
        first, last: when it was heard.
        telegrams: how many.
        mode: radio mode of the last one, "" if the receiver does not tell.
        rssi: level of the last one in dBm, None if the receiver does not tell.
        security: security mode of the last one, None if it could not be read.
        verdicts: what became of them.
    """

    address: Address
    meter: str
    first: WorldTime
    last: WorldTime
    telegrams: int = 0
    mode: str = ""
    rssi: int | None = None
    security: int | None = None
    verdicts: dict[str, int] = field(default_factory=dict)


class HeardList:
    """The senders heard lately.

    Args:
        limit: most entries; the stranger not heard for longest goes first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._stations: OrderedDict[bytes, Station] = OrderedDict()

    def note(self, address: Address, meter: str, at: WorldTime) -> Station:
        """Count a telegram; returns its sender's entry."""
        station = self._stations.get(address.octets)
        if station is None:
            self._make_room()
            station = self._stations[address.octets] = Station(address, meter, at, at)
        station.telegrams += 1
        station.last = at
        station.meter = meter
        self._stations.move_to_end(address.octets)
        return station

    def _make_room(self) -> None:
        if len(self._stations) < self._limit:
            return
        stranger = next((key for key, one in self._stations.items() if not one.meter), None)
        if stranger is None:
            self._stations.popitem(last=False)
        else:
            del self._stations[stranger]

    def configured(self, meters: dict[bytes, str]) -> None:
        """Take note of which addresses are configured meters."""
        for key, station in self._stations.items():
            station.meter = meters.get(key, "")

    def rows(self) -> list[Station]:
        """Return the entries, the one heard last at the end."""
        return list(self._stations.values())
