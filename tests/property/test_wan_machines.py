"""Links and services of the WAN against naive models: TLS connection, wake-up service, time."""

from __future__ import annotations

from collections import deque

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tls_lab import PROFILE, identity, self_signed

from smgw_emu.bench.pki import Role, TestPki
from smgw_emu.bench.wakeup import wakeup_packet
from smgw_emu.core.ids import DeviceId
from smgw_emu.core.instants import DAY, HOUR, SECOND, DeviceTime, WorldTime
from smgw_emu.transport import tls
from smgw_emu.transport.presets import client_context, server_context
from wan.wakeup import Rejection, WakeupService

METER, GATEWAY = self_signed(ec.SECP256R1(), lmn=True), self_signed(ec.SECP256R1(), lmn=True)
SERVER = server_context("lmn", identity(METER), peers=[GATEWAY.certificate_der]).context
CLIENT = client_context("lmn", identity(GATEWAY), [METER.certificate_der]).context
LIMITS = msgspec.structs.replace(PROFILE.lmn_tls, max_octets=5000, idle_s=3600)


class TlsLife(RuleBasedStateMachine):
    """Two ends and a line that delivers when it likes; payload, age and idleness are modelled."""

    @initialize()
    def connect(self):
        self.now = WorldTime(1_800_000_000 * SECOND)
        self.client = tls.TlsConnection(CLIENT, LIMITS, self.now, server_side=False)
        self.server = tls.TlsConnection(SERVER, LIMITS, self.now)
        self.ends = {self.client: [], self.server: []}
        self.got = {self.client: b"", self.server: b""}
        self.sent = {self.client: b"", self.server: b""}
        self.client.start(self.now)
        for _ in range(3):
            self.deliver()
        assert self.client.established
        assert self.server.established
        self.opened = self.last = self.now
        self.payload = 0

    def note(self, end, events):
        for event in events:
            if isinstance(event, tls.Ended):
                self.ends[end].append(event.reason)
            elif isinstance(event, tls.Data):
                self.got[end] += event.data

    @rule()
    def deliver(self):
        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            flight = sender.output()
            if flight:
                self.note(receiver, receiver.receive(flight, self.now))

    @rule(by_client=st.booleans(), data=st.binary(min_size=1, max_size=900))
    def send(self, by_client, data):
        end, other = self.client, self.server
        if not by_client:
            end, other = other, end
        if end.over or other.over:
            assert end.over or end.send(b"", self.now) == []
            return
        events = end.send(data, self.now)
        self.note(end, events)
        if self.payload + len(data) > 5000:
            assert [event.reason for event in events] == [tls.TlsEnd.VOLUME]
        else:
            self.payload += len(data)
            self.sent[end] += data
            self.last = self.now
        self.deliver()

    @rule(step=st.sampled_from([1, 60, 3599, 3600, 86_400, 31 * 86_400]))
    def wait(self, step):
        self.now = self.now + step * SECOND
        old = self.now - self.opened >= 31 * DAY
        for end in (self.client, self.server):
            due = end.next_deadline()
            if due is None:
                continue
            self.note(end, end.on_deadline(self.now))
            assert end.over == (self.now >= due)
            if end.over:
                assert self.ends[end] == [tls.TlsEnd.TOO_OLD if old else tls.TlsEnd.IDLE]
                assert old or self.now - self.last >= HOUR
        self.deliver()

    @precondition(lambda self: not self.client.over)
    @rule()
    def close(self):
        self.note(self.client, self.client.close())
        self.deliver()

    @rule(junk=st.binary(min_size=1, max_size=40))
    def garbage(self, junk):
        self.deliver()
        if not self.server.over:
            self.note(
                self.server, self.server.receive(b"\x17\x03\x03\x00\x28" + junk.ljust(40), self.now)
            )
            assert self.ends[self.server] == [tls.TlsEnd.PROTOCOL_ERROR]
        self.deliver()

    @invariant()
    def honest(self):
        if not hasattr(self, "sent"):
            return
        for end in (self.client, self.server):
            assert len(self.ends[end]) == (1 if end.over else 0)  # told exactly once
            assert end.payload <= 5000
            if end.over:
                assert end.next_deadline() is None
                assert end.receive(b"x", self.now) == []
        assert self.sent[self.client].startswith(self.got[self.server])
        assert self.sent[self.server].startswith(self.got[self.client])


TestTlsLife = TlsLife.TestCase
TestTlsLife.pytestmark = [pytest.mark.req("LMN-N03"), pytest.mark.req("WAN-N04")]

PKI = TestPki()
ADMINISTRATOR, STRANGER = PKI.participant(Role.GWA, "a"), PKI.participant(Role.GWA, "s")
DEVICE = DeviceId.parse("ETHE0399000001")
PACKETS = {
    (who, offset): wakeup_packet(signer, DEVICE, 1_800_000_000 + offset)
    for who, signer in (("good", ADMINISTRATOR), ("bad", STRANGER))
    for offset in range(0, 200, 20)
}


class WakeupLife(RuleBasedStateMachine):
    """Packets in any order at any time: what is accepted follows from time, memory and rate alone."""

    @initialize()
    def start(self):
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

        from wan.certificates import ec_key

        key = ec_key(ADMINISTRATOR.sig.certificate)

        def verify(digest, signature):
            try:
                key.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
            except Exception:
                return False
            return True

        limits = msgspec.structs.replace(PROFILE.wakeup, signature_checks=4, rate_s=10)
        self.service = WakeupService(DEVICE, limits, verify)
        self.now = 1_800_000_000
        self.accepted: list[tuple[int, int]] = []  # (offset, when)
        self.checks: deque[int] = deque()
        self.enabled = True

    @rule(seconds=st.sampled_from([0, 1, 5, 20, 61]))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def switch(self):
        self.enabled = self.service.enabled = not self.enabled

    @rule(who=st.sampled_from(["good", "bad"]), offset=st.sampled_from(range(0, 200, 20)),
          valid=st.booleans())  # fmt: skip
    def packet(self, who, offset, valid):
        moment = self.now * SECOND
        found = self.service.receive(
            PACKETS[who, offset], WorldTime(moment), DeviceTime(moment) if valid else None
        )
        assert found is self.expected(who, offset, valid=valid)

    def expected(self, who, offset, *, valid) -> Rejection | None:
        if not self.enabled:
            return Rejection.SWITCHED_OFF
        if not valid:
            return Rejection.NO_TIME
        if abs(1_800_000_000 + offset - self.now) > 30:
            return Rejection.OUTSIDE_WINDOW
        # whoever signed: what was accepted before is not looked at again
        if any(offset == seen for seen, _ in self.accepted):
            return Rejection.SEEN_BEFORE
        while self.checks and self.now - self.checks[0] >= 10:
            self.checks.popleft()
        if len(self.checks) >= 4:
            return Rejection.RATE_LIMITED
        self.checks.append(self.now)
        if who == "bad":
            return Rejection.WRONG_SIGNATURE
        self.accepted.append((offset, self.now))
        return None

    @invariant()
    def bounded(self):
        if hasattr(self, "service"):
            assert len(self.service._accepted) <= 10
            assert len(self.service._checks) <= 4
            assert self.service.accepted == len(self.accepted)


TestWakeupLife = WakeupLife.TestCase
TestWakeupLife.pytestmark = [pytest.mark.req("WAN-N01"), pytest.mark.req("WAN-05")]
