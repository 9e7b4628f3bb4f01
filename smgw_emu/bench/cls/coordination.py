"""The coordination function (KOF): several want the same plant, the grid operator decides.

Theory of operation (requirements WAN-67 to WAN-69, WAN-73; the text of the FNN paper is not
public, so this is our own smallest reading). Actors ask for a limit of a plant for a span of
time. The traffic light of the grid says who is heard: green, the market acts as it likes below
what the grid operator (VNB) has set; yellow, what the VNB has set holds for all, and where he has
set nothing the market acts; red, only the VNB acts. In every light his request is an upper bound.
Who is overruled learns of it afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from smgw_emu.core.instants import WorldTime

BUDGET_S = 12 * 60  # WAN-70: the cascade's time per switching action


class Light(StrEnum):
    """State of the grid."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Request:
    """A wish: at most ``watts`` from ``begin`` (included) to ``end`` (excluded)."""

    actor: str
    watts: int
    begin: WorldTime
    end: WorldTime
    vnb: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """What an actor learns afterwards: his request was overruled, by whom and why."""

    moment: WorldTime
    actor: str
    by: str
    reason: str


@dataclass(slots=True)
class Plant:
    """Requests and decisions of one plant.

    Attributes:
        light: of its part of the grid.
        notices: ex-post information, oldest first.
    """

    light: Light = Light.GREEN
    notices: list[Notice] = field(default_factory=list)
    _requests: list[Request] = field(default_factory=list)

    def ask(self, request: Request, now: WorldTime) -> None:
        """Take a request; the actor's older ones for the same time are replaced.

        Raises:
            ValueError: a span that does not begin before it ends.
        """
        if request.begin >= request.end or request.watts < 0:
            raise ValueError("a request needs a span of time and a limit of 0 W or more")
        self._requests = [
            r for r in self._requests if r.actor != request.actor or not _overlap(r, request)
        ]
        self._requests.append(request)
        self._tell(now)

    def set_light(self, light: Light, now: WorldTime) -> None:
        """The grid has changed."""
        self.light = light
        self._tell(now)

    def decide(self, now: WorldTime) -> Request | None:
        """Return whose request holds at a moment; None: nobody limits the plant."""
        heard = [r for r in self._requests if r.begin <= now < r.end]
        grid = min((r for r in heard if r.vnb), key=lambda r: r.watts, default=None)
        market = [r for r in heard if not r.vnb]
        if grid is None:
            if self.light is Light.RED:
                return None
            return min(market, key=lambda r: r.watts, default=None)
        if self.light is not Light.GREEN:
            return grid
        stricter = [r for r in market if r.watts < grid.watts]
        return min([*stricter, grid], key=lambda r: r.watts)

    def plan(self, now: WorldTime) -> list[tuple[WorldTime, int | None]]:
        """Return the limits from ``now`` on: (moment, W or None), only where they change."""
        edges = {now} | {at for r in self._requests for at in (r.begin, r.end) if at > now}
        steps: list[tuple[WorldTime, int | None]] = []
        for at in sorted(edges):
            holds = self.decide(at)
            watts = holds.watts if holds is not None else None
            if not steps or steps[-1][1] != watts:
                steps.append((at, watts))
        return steps

    def _tell(self, now: WorldTime) -> None:
        """Inform who is overruled now and was not told yet."""
        winner = self.decide(now)
        told = {(n.actor, n.by) for n in self.notices}
        for request in self._requests:
            if request.vnb or request is winner or not request.begin <= now < request.end:
                continue
            by = winner.actor if winner is not None else "grid"
            if (request.actor, by) not in told:
                reason = f"{self.light} light" if winner is None else f"at most {winner.watts} W"
                self.notices.append(Notice(now, request.actor, by, reason))


def _overlap(one: Request, other: Request) -> bool:
    return one.begin < other.end and other.begin < one.end
