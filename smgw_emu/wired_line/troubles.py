"""What is wrong with a line, told in words a technician can use, and not more often than useful."""

from __future__ import annotations

from collections.abc import Callable

from lmn.bus import Trouble, TroubleKind
from smgw_emu.core.instants import MINUTE, WorldTime

PAUSE = 15 * MINUTE  # own choice: a noisy line must not flood the log
MIN_GARBAGE = 64  # own choice: octets without one good frame that make a wrong speed likely

# field-notes.md 8.2
ECHO = (
    "the transceiver gives back what is sent (local echo): switch the receiver off while sending"
    " (RE to DE); it is ignored here"
)
GARBAGE = (
    "octets arrive but no frame: wrong speed (wanted {baud} baud, 8N1), A and B exchanged, or no"
    " termination"
)
_EVENTS = {
    TroubleKind.DAMAGE: "frame-damaged",
    TroubleKind.CONFLICT: "station-conflict",
    TroubleKind.UNASKED: "station-unasked",
}


class Troubles:
    """Counts what is wrong; each kind is told at most every 15 minutes, with its number.

    Args:
        baud: speed of the line, for the diagnosis.
        tell: event name and parameters.
    """

    def __init__(self, baud: int, tell: Callable[..., None]) -> None:
        self._baud = baud
        self._tell = tell
        self._since: dict[TroubleKind, int] = {}
        self._next: dict[TroubleKind, WorldTime] = {}
        self._garbage = 0
        self._frames = False
        self.faults: set[str] = set()
        self.counts: dict[TroubleKind, int] = dict.fromkeys(TroubleKind, 0)

    def good_frame(self) -> None:
        """A good frame of a meter came: the line works."""
        self._frames = True
        self._garbage = 0
        self.faults.discard(GARBAGE)

    def restart(self) -> None:
        """The line is new: what was wrong may be over."""
        self._garbage, self._frames = 0, False
        self.faults.clear()

    def note(self, trouble: Trouble, now: WorldTime) -> None:
        """Take something that is wrong."""
        kind = trouble.kind
        self.counts[kind] += 1
        if kind is TroubleKind.ECHO:
            self._fault(ECHO)
            return
        self._since[kind] = self._since.get(kind, 0) + 1
        if kind is TroubleKind.DAMAGE and not self._frames:
            self._garbage += trouble.octets
            if self._garbage >= MIN_GARBAGE:
                self._fault(GARBAGE.format(baud=self._baud), GARBAGE)
        due = self._next.get(kind)
        if due is None or now >= due:
            self._next[kind] = now + PAUSE
            count = self._since.pop(kind)
            self._tell(_EVENTS[kind], outcome="F", reason=trouble.detail, count=count)

    def _fault(self, text: str, key: str = "") -> None:
        """Tell a fault of the installation once."""
        key = key or text
        if key not in self.faults:
            self.faults.add(key)
            self._tell("line-fault", outcome="F", reason=text)
