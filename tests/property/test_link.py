"""The link between gateway and meter through loss, duplication and delay (LMN-N01).

A state machine drives both ends. The model is two lists per connection: what was sent each way.
What arrives is always a beginning of it: nothing twice, nothing invented, nothing out of order; and
once the line is good again everything arrives and the link works.
"""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from wired_lab import RULES

from lmn.hdlc import Frame, Kind, PrimaryLink, SecondaryLink
from lmn.hdlc.frame import control
from lmn.hdlc.primary import Arrived, Closed, LinkState, Opened, Strange
from smgw_emu.core.instants import SECOND, WorldTime

ADDRESS = 58
FATES = st.sampled_from(
    ["good", "good", "good", "lost command", "lost answer", "damaged", "twice", "late"]
)


class LinkPair(RuleBasedStateMachine):
    """Both ends, and a line that does what it likes."""

    @initialize()
    def begin(self) -> None:
        self.now = WorldTime(0)
        self.primary = PrimaryLink(ADDRESS, RULES)
        self.accepts = True
        self.secondary = SecondaryLink(RULES, lambda sap: self.accepts and sap in {1, 6})
        self.late: Frame | None = None
        self.down: list[bytes] = []  # sent by the gateway in this connection
        self.up: list[bytes] = []
        self.got_down = b""
        self.got_up = b""
        self.number = 0

    # -- what both do --------------------------------------------------------------------

    def _payload(self, size: int) -> bytes:
        self.number += 1
        return self.number.to_bytes(2, "big") * size

    @rule(sap=st.sampled_from([1, 6]))
    def connect(self, sap: int) -> None:
        self._new_connection()
        self.primary.open(sap)
        self.exchange("good")

    @rule()
    def disconnect(self) -> None:
        self.primary.close()

    @precondition(lambda self: self.primary.state is LinkState.OPEN and not self.primary._finish)
    @rule(size=st.sampled_from([1, 30, 2500]), fates=st.lists(FATES, max_size=6))
    def gateway_sends(self, size: int, fates: list[str]) -> None:
        data = self._payload(size)
        self.primary.send(data)
        self.down.append(data)
        self.exchanges(fates)

    @precondition(lambda self: self.secondary.state is LinkState.OPEN)
    @rule(size=st.sampled_from([1, 30, 2500]), fates=st.lists(FATES, max_size=6))
    def meter_sends(self, size: int, fates: list[str]) -> None:
        data = self._payload(size)
        self.secondary.send(data)
        self.up.append(data)
        self.primary.expecting = True
        self.exchanges(fates)

    @rule()
    def gateway_waits_for_data(self) -> None:
        self.primary.expecting = True

    @rule()
    def meter_loses_power(self) -> None:
        self.secondary.reset()

    @rule(busy=st.booleans())
    def meter_is_busy(self, busy: bool) -> None:
        self.secondary.busy = busy and self.secondary.state is LinkState.OPEN

    @rule(accepts=st.booleans())
    def meter_changes_its_mind(self, accepts: bool) -> None:
        self.accepts = accepts

    # -- the line ------------------------------------------------------------------------

    @rule(fates=st.lists(FATES, min_size=1, max_size=12))
    def exchanges(self, fates: list[str]) -> None:
        for fate in fates:
            self.exchange(fate)
            self.nothing_twice_and_nothing_invented()

    def exchange(self, fate: str) -> None:
        self.now = self.now + SECOND
        wants = self.primary.wants()
        if wants is None or wants > self.now:
            return
        frame = self.primary.turn()
        if frame is None:
            return
        assert frame.poll_final
        assert len(frame.information) <= RULES.send_information
        if self.late is not None:
            # the answer to an earlier command, after its time: the link was asked already
            stale, self.late = self.late, None
            self._answer(stale)
            answer = self._to_meter(frame)  # and this one's comes when the next is asked
            if fate == "late" and answer is not None and answer.kind in {Kind.I, Kind.RR}:
                self.late = answer
            return
        if fate == "lost command":
            self._silence("no answer")
            return
        answer = self._to_meter(frame)
        if fate == "twice":
            answer = self._to_meter(frame)
        if fate in {"lost answer", "damaged"} or answer is None:
            self._silence(fate)
        elif fate == "late" and answer.kind in {Kind.I, Kind.RR, Kind.RNR}:
            self.late = answer
            self._silence("no answer")
        else:
            self._answer(answer)

    def _to_meter(self, frame: Frame) -> Frame | None:
        for event in self.secondary.receive(frame, self.now):
            match event:
                case Opened():
                    self.up = []
                    self.got_up = b""
                    self.got_down = b""
                    self.down = [] if self.primary.state is not LinkState.OPEN else self.down
                case Arrived(data):
                    self.got_down += data
                    assert b"".join(self.down).startswith(self.got_down)
        return self.secondary.answer(frame)

    def _answer(self, frame: Frame) -> None:
        for event in self.primary.answer(frame, self.now, self.now):
            match event:
                case Opened():
                    self.got_up = b""
                case Arrived(data):
                    self.got_up += data
                    assert b"".join(self.up).startswith(self.got_up)
                case Closed():
                    self._new_connection()
                case Strange():
                    pass

    def _silence(self, reason: str) -> None:
        for event in self.primary.silence(reason, self.now):
            if isinstance(event, Closed):
                self._new_connection()

    def _new_connection(self) -> None:
        """What was on the way is lost, and so is an answer that is still under way."""
        self.late = None
        self.down = []
        self.up = []
        self.got_up = self.got_down = b""
        self.lost = True

    # -- what must hold ------------------------------------------------------------------

    @invariant()
    def nothing_twice_and_nothing_invented(self) -> None:
        if not hasattr(self, "primary"):
            return
        if self.primary.state is LinkState.OPEN:
            assert b"".join(self.down).startswith(self.got_down)
            assert b"".join(self.up).startswith(self.got_up)

    def teardown(self) -> None:
        if not hasattr(self, "primary"):
            return
        self.accepts, self.secondary.busy = True, False
        self.late = None
        for _ in range(20):  # whatever state: a good line gets it to an end
            self.exchange("good")
        self.primary.close()
        for _ in range(40):
            self.exchange("good")
        assert self.primary.state is LinkState.CLOSED
        self._new_connection()
        self.primary.open(1)
        self.exchange("good")
        assert self.primary.state is LinkState.OPEN
        data = self._payload(3000)
        self.down = [data]
        self.primary.send(data)
        self.secondary.send(data[::-1])
        self.up = [data[::-1]]
        self.primary.expecting = True
        for _ in range(12):
            self.exchange("good")
        assert self.got_down == data
        assert self.got_up == data[::-1]


TestLinkPair = pytest.mark.req("LMN-N01")(LinkPair.TestCase)


# -- single rules of the standard ----------------------------------------------------------------


def _meter(frame_control: int, sap: int = 1, information: bytes = b"") -> Frame:
    return Frame(ADDRESS, sap, 1, sap, frame_control, information)


@pytest.mark.parametrize("kind", [Kind.I, Kind.RR, Kind.RNR, Kind.DISC, Kind.REJ, Kind.FRMR])
def test_a_disconnected_meter_answers_everything_but_snrm_with_dm(kind):
    link = SecondaryLink(RULES, lambda _sap: True)
    frame = _meter(control(kind))
    assert link.receive(frame, WorldTime(0)) == []
    answer = link.answer(frame)
    assert answer is not None
    assert answer.kind is Kind.DM
    assert (answer.destination, answer.source) == (1, ADDRESS)


def test_without_the_p_bit_nobody_answers():
    link = SecondaryLink(RULES, lambda _sap: True)
    frame = _meter(control(Kind.SNRM) & ~0x10)
    link.receive(frame, WorldTime(0))
    assert link.answer(frame) is None


def test_a_protocol_that_is_not_allowed_is_refused():
    """After pairing only TLS is allowed: plain SML (SAP 3) gets DM."""
    link = SecondaryLink(RULES, lambda sap: sap == 1)
    for sap, kind in ((3, Kind.DM), (1, Kind.UA), (3, Kind.DM)):
        frame = _meter(control(Kind.SNRM), sap)
        link.receive(frame, WorldTime(0))
        answer = link.answer(frame)
        assert answer is not None
        assert answer.kind is kind


def test_an_impossible_nr_ends_the_connection_with_frmr():
    link = SecondaryLink(RULES, lambda _sap: True)
    snrm = _meter(control(Kind.SNRM))
    link.receive(snrm, WorldTime(0))
    frame = _meter(control(Kind.RR, nr=5))
    assert link.receive(frame, WorldTime(0)) == [Closed("sequence error")]
    answer = link.answer(frame)
    assert answer is not None
    assert answer.kind is Kind.FRMR
    assert link.state is LinkState.CLOSED


def test_polls_become_slow_after_a_hundred_empty_answers():
    """lmn-wired.md 1.2 no. 3: OST backs off to 100 ms."""
    link, now = PrimaryLink(ADDRESS, RULES), WorldTime(0)
    link.open(1)
    link.turn()
    link.answer(Frame(1, 1, ADDRESS, 1, control(Kind.UA)), now, now)
    link.expecting = True
    pauses = []
    for _ in range(RULES.polls + 2):
        frame = link.turn()
        assert frame is not None
        assert frame.kind is Kind.RR
        link.answer(Frame(1, 1, ADDRESS, 1, control(Kind.RR)), now, now)
        wants = link.wants()
        assert wants is not None
        pauses.append(wants - now)
        now = wants
    assert set(pauses[: RULES.polls]) == {RULES.poll_pause_ms * 1_000_000}
    assert set(pauses[RULES.polls :]) == {RULES.poll_slow_ms * 1_000_000}


def test_a_meter_that_never_answers_is_given_up_after_the_retries():
    link, now = PrimaryLink(ADDRESS, RULES), WorldTime(0)
    link.open(1)
    events = []
    for sent in range(RULES.retries + 1):
        frame = link.turn()
        assert frame is not None, sent
        events += link.silence("no answer", now)
    assert events == [Closed("no answer")]
    assert link.turn() is None
