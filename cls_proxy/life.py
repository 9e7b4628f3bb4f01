"""The steps of a transparent channel (TR-03109-1 v1.0 3.4.3.3 to 3.4.3.5, figures F16 to F21).

Theory of operation. A channel has two legs, both TLS: HAN (to the CLS) and WAN (to the EMT). Who
asks decides their order:

* HKS3: the CLS has asked, so its leg stands; the WAN leg is opened (f), the CLS gets its answer.
* HKS4: the administrator has ordered; first the HAN leg (e), he is told; then the WAN leg (f), he
  is told again.
* HKS5: an event has come; first the WAN leg (b), then the HAN leg (c).

Then octets are passed on (g, h) until somebody ends it. The leg whose partner says farewell waits:
the other leg is closed first, with close_notify both ways and the end of its TCP connection, and
only then the farewell is answered (F17, F19). If the gateway itself ends the channel the EMT's leg
goes first (F21). A leg that breaks without a farewell lets the other one be closed.

``OVER`` is final. A pair that is not in :data:`TABLE` changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType

from smgw_emu.core.cls_profiles import Scenario


class State(StrEnum):
    """Where a channel is."""

    BEGIN = "begin"
    HAN_OPENING = "opening the HAN leg"
    WAN_OPENING = "opening the WAN leg"
    OPEN = "open"
    WAN_CLOSING = "closing the WAN leg, then the HAN leg"
    HAN_CLOSING = "closing the HAN leg, then the WAN leg"
    LAST_HAN = "closing the HAN leg"
    LAST_WAN = "closing the WAN leg"
    OVER = "over"


ENDING = frozenset(
    {State.WAN_CLOSING, State.HAN_CLOSING, State.LAST_HAN, State.LAST_WAN, State.OVER}
)


class Input(StrEnum):
    """What happens to it."""

    GO = "go"
    HAN_UP = "HAN leg stands"
    WAN_UP = "WAN leg stands"
    HAN_FAILED = "HAN leg cannot be had"
    WAN_TIMEOUT = "EMT does not answer"
    WAN_REFUSED = "EMT refuses"
    HAN_FAREWELL = "CLS says farewell"
    WAN_FAREWELL = "EMT says farewell"
    HAN_OVER = "HAN leg is over"
    WAN_OVER = "WAN leg is over"
    REVOKED = "gateway ends it"


class Action(StrEnum):
    """What the gateway does then."""

    OPEN_HAN = "open the HAN leg"
    OPEN_WAN = "open the WAN leg"
    TELL_HAN = "HAN connect response"
    TELL_WAN = "WAN connect response"
    TELL_FAILED = "failure to who asked"
    ANSWER_OK = "answer the CLS: open"
    ANSWER_TIMEOUT = "answer the CLS: timeout"
    ANSWER_REFUSED = "answer the CLS: refused"
    JOIN = "pass octets on"
    CLOSE_HAN = "close the HAN leg"
    CLOSE_WAN = "close the WAN leg"
    DROP_HAN = "give the HAN leg up"
    DROP_WAN = "give the WAN leg up"


_S, _I, _A = State, Input, Action
Step = tuple[State, tuple[Action, ...]]

# how a standing channel ends, whoever asked for it
_END: dict[tuple[State, Input], Step] = {
    (_S.OPEN, _I.HAN_FAREWELL): (_S.WAN_CLOSING, (_A.CLOSE_WAN,)),
    (_S.OPEN, _I.WAN_FAREWELL): (_S.HAN_CLOSING, (_A.CLOSE_HAN,)),
    (_S.OPEN, _I.REVOKED): (_S.WAN_CLOSING, (_A.CLOSE_WAN,)),
    (_S.OPEN, _I.HAN_OVER): (_S.LAST_WAN, (_A.CLOSE_WAN,)),
    (_S.OPEN, _I.WAN_OVER): (_S.LAST_HAN, (_A.CLOSE_HAN,)),
    (_S.WAN_CLOSING, _I.WAN_OVER): (_S.LAST_HAN, (_A.CLOSE_HAN,)),
    (_S.WAN_CLOSING, _I.HAN_OVER): (_S.LAST_WAN, ()),
    (_S.HAN_CLOSING, _I.HAN_OVER): (_S.LAST_WAN, (_A.CLOSE_WAN,)),
    (_S.HAN_CLOSING, _I.WAN_OVER): (_S.LAST_HAN, ()),
    (_S.LAST_HAN, _I.HAN_OVER): (_S.OVER, ()),
    (_S.LAST_WAN, _I.WAN_OVER): (_S.OVER, ()),
}

_HKS3: dict[tuple[State, Input], Step] = {
    (_S.BEGIN, _I.GO): (_S.WAN_OPENING, (_A.OPEN_WAN,)),
    (_S.WAN_OPENING, _I.WAN_UP): (_S.OPEN, (_A.ANSWER_OK, _A.JOIN)),
    (_S.WAN_OPENING, _I.WAN_TIMEOUT): (_S.LAST_HAN, (_A.ANSWER_TIMEOUT, _A.CLOSE_HAN)),
    (_S.WAN_OPENING, _I.WAN_REFUSED): (_S.LAST_HAN, (_A.ANSWER_REFUSED, _A.CLOSE_HAN)),
    (_S.WAN_OPENING, _I.REVOKED): (
        _S.LAST_HAN,
        (_A.DROP_WAN, _A.ANSWER_REFUSED, _A.CLOSE_HAN),
    ),
    (_S.WAN_OPENING, _I.HAN_FAREWELL): (_S.LAST_HAN, (_A.DROP_WAN, _A.CLOSE_HAN)),
    (_S.WAN_OPENING, _I.HAN_OVER): (_S.OVER, (_A.DROP_WAN,)),
}

_HKS4: dict[tuple[State, Input], Step] = {
    (_S.BEGIN, _I.GO): (_S.HAN_OPENING, (_A.OPEN_HAN,)),
    (_S.HAN_OPENING, _I.HAN_UP): (_S.WAN_OPENING, (_A.TELL_HAN, _A.OPEN_WAN)),
    (_S.HAN_OPENING, _I.HAN_FAILED): (_S.OVER, (_A.TELL_FAILED,)),
    (_S.HAN_OPENING, _I.REVOKED): (_S.OVER, (_A.DROP_HAN, _A.TELL_FAILED)),
    (_S.WAN_OPENING, _I.WAN_UP): (_S.OPEN, (_A.TELL_WAN, _A.JOIN)),
    (_S.WAN_OPENING, _I.WAN_TIMEOUT): (_S.LAST_HAN, (_A.TELL_FAILED, _A.CLOSE_HAN)),
    (_S.WAN_OPENING, _I.WAN_REFUSED): (_S.LAST_HAN, (_A.TELL_FAILED, _A.CLOSE_HAN)),
    (_S.WAN_OPENING, _I.REVOKED): (_S.LAST_HAN, (_A.DROP_WAN, _A.TELL_FAILED, _A.CLOSE_HAN)),
    (_S.WAN_OPENING, _I.HAN_FAREWELL): (
        _S.LAST_HAN,
        (_A.DROP_WAN, _A.TELL_FAILED, _A.CLOSE_HAN),
    ),
    (_S.WAN_OPENING, _I.HAN_OVER): (_S.OVER, (_A.DROP_WAN, _A.TELL_FAILED)),
}

_HKS5: dict[tuple[State, Input], Step] = {
    (_S.BEGIN, _I.GO): (_S.WAN_OPENING, (_A.OPEN_WAN,)),
    (_S.WAN_OPENING, _I.WAN_UP): (_S.HAN_OPENING, (_A.OPEN_HAN,)),
    (_S.WAN_OPENING, _I.WAN_TIMEOUT): (_S.OVER, (_A.TELL_FAILED,)),
    (_S.WAN_OPENING, _I.WAN_REFUSED): (_S.OVER, (_A.TELL_FAILED,)),
    (_S.WAN_OPENING, _I.REVOKED): (_S.OVER, (_A.DROP_WAN, _A.TELL_FAILED)),
    (_S.HAN_OPENING, _I.HAN_UP): (_S.OPEN, (_A.JOIN,)),
    (_S.HAN_OPENING, _I.HAN_FAILED): (_S.LAST_WAN, (_A.TELL_FAILED, _A.CLOSE_WAN)),
    (_S.HAN_OPENING, _I.REVOKED): (_S.LAST_WAN, (_A.DROP_HAN, _A.TELL_FAILED, _A.CLOSE_WAN)),
    (_S.HAN_OPENING, _I.WAN_FAREWELL): (
        _S.LAST_WAN,
        (_A.DROP_HAN, _A.TELL_FAILED, _A.CLOSE_WAN),
    ),
    (_S.HAN_OPENING, _I.WAN_OVER): (_S.OVER, (_A.DROP_HAN, _A.TELL_FAILED)),
}

TABLE: Mapping[Scenario, Mapping[tuple[State, Input], Step]] = MappingProxyType(
    {
        "HKS3": MappingProxyType(_HKS3 | _END),
        "HKS4": MappingProxyType(_HKS4 | _END),
        "HKS5": MappingProxyType(_HKS5 | _END),
    }
)


class Life:
    """The life of one channel.

    Args:
        scenario: who asked for it.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._table = TABLE[scenario]
        self.state = State.BEGIN

    def take(self, event: Input) -> tuple[Action, ...]:
        """Take a step; returns what has to be done, in order."""
        step = self._table.get((self.state, event))
        if step is None:
            return ()
        self.state, actions = step
        return actions


def steps() -> Iterator[tuple[Scenario, State, Input, Step]]:
    """Yield the whole table, for the documentation and the tests."""
    for scenario, table in TABLE.items():
        for (state, event), step in table.items():
            yield scenario, state, event, step
