"""HKS3: a CLS asks for a channel, by SOCKS and by TLS server name, with ends of the stdlib alone."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import timedelta

import msgspec
import pytest
from cls_lab import NAME, SocksEnd, cls_profile, proxy_profile, run_cls, stdlib_context

from secure_state.machine import Cause, Exit
from smgw_emu.bench.pki.cls import fingerprint, issue_cls_key
from smgw_emu.core.instants import SECOND, DeviceTime


@pytest.mark.req("H18", "HAN-60", "HAN-62", "HAN-N10", "WAN-65")
def test_a_channel_by_socks(tmp_path):
    """CONNECT names the profile; REP 00, then octets in both directions; close as figure F17."""

    async def work(lab):
        end = await lab.channel()
        assert lab.states() == ["open"]
        end.send(b"\x00\xffhello" * 1000)
        assert await end.exactly(7000) == b"\x00\xffhello" * 1000
        assert bytes(lab.emt.received) == b"\x00\xffhello" * 1000
        assert set(end.states) == {1, 3}
        end.close()
        assert await end.ended()
        assert end.states[-1] == 4
        await lab.settle(lambda: not lab.line.channels)
        assert lab.emt.ended == 1
        assert lab.states() == []
        assert lab.lab.logged("Transparenter Kanal proxy1 (HKS3) zwischen CLS box1 und EMT aemt1")
        assert lab.lab.logged("closed by the CLS (7000 Oktette zum EMT, 7000 zum CLS)")
        consumer = lab.lab.device.logbooks.last("consumer", "consumer1", count=50)
        assert sum("Transparenter Kanal" in entry.message for entry in consumer) == 2

    run_cls(tmp_path, work)


@pytest.mark.req("HAN-N11")
def test_a_channel_by_server_name(tmp_path):
    """The name stands in the ClientHello; an unknown one ends the handshake."""

    async def work(lab):
        context = stdlib_context(ssl.PROTOCOL_TLS_CLIENT, lab.box)
        place = lab.line.doors.addresses["tls"]
        reader, writer = await asyncio.open_connection(*place, ssl=context, server_hostname=NAME)
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        assert lab.states() == ["open"]
        writer.close()
        await lab.settle(lambda: not lab.line.channels)
        assert lab.emt.ended == 1
        for name in ("other.netz", None):
            with pytest.raises(ssl.SSLError):
                await asyncio.open_connection(*place, ssl=context, server_hostname=name or "a")

    run_cls(tmp_path, work)


@pytest.mark.req("K01", "K02")
@pytest.mark.parametrize(
    "name", ["unknown.netz", "a_b", "Aemt.netz", "a" * 64, "", b"a\x00b", "aemt.netz.", "a" * 255]
)
def test_a_name_that_is_not_configured_is_refused(tmp_path, name):
    """REP 02 for unknown and illegal names alike; TLS ends within 10 s."""

    async def work(lab):
        end = await lab.client()
        assert await end.connect(name) == 2
        assert await end.recv() == b""
        assert end.states[-1] == 4
        begun = lab.clock.now()
        await lab.clock.advance(10 * SECOND)
        assert await end.ended()
        assert lab.clock.now() - begun <= 10 * SECOND
        assert lab.emt.opened == 0
        assert lab.states() == []
        assert lab.lab.logged("Verbindung am CLS-Proxy abgewiesen") == 1

    run_cls(tmp_path, work)


@pytest.mark.req("K04")
@pytest.mark.parametrize("methods", [b"\x86", b"\x00", b"", b"\x00\x01\x02", b"\x86\x00"])
def test_another_method_is_refused(tmp_path, methods):
    """Only 06 is taken; FF and the end answer the rest."""

    async def work(lab):
        end = await lab.dial()
        assert await end.greet(methods) == b"\x05\xff"
        assert await end.reader.read() == b""
        assert lab.emt.opened == 0

    run_cls(tmp_path, work)


@pytest.mark.parametrize(("policy", "answer"), [("accept", b"\x05\x06"), ("refuse", b"\x05\xff")])
def test_a_greeting_that_offers_more_than_tls(tmp_path, policy, answer):
    """Detailspezifikation v2.0 11.3.1 can be read both ways: a named setting."""

    async def work(lab):
        lab.set_rules(other_methods=policy)
        end = await lab.dial()
        assert await end.greet(b"\x00\x06") == answer

    run_cls(tmp_path, work)


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (b"\x05\x02\x00\x03\x01a\x00\x50", 7),  # BIND
        (b"\x05\x03\x00\x03\x01a\x00\x50", 7),  # UDP ASSOCIATE
        (b"\x05\x01\x00\x02\x01a\x00\x50", 8),
        (b"\x04\x01\x00\x03\x01a\x00\x50", 1),
        (b"\x05\x01\x01\x03\x01a\x00\x50", 1),
        (b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50", 2),
        (b"\x05\x01\x00\x04" + bytes(16) + b"\x00\x50", 2),
    ],
)
def test_other_requests(tmp_path, request_, reply):
    """Codes of RFC 1928 section 6 and nothing else (Connect.50)."""

    async def work(lab):
        end = await lab.client()
        assert await end.ask(request_) == reply
        assert await end.recv() == b""

    run_cls(tmp_path, work)


def test_an_address_picks_the_profile_of_that_address(tmp_path):
    """ATYP 01 is matched against wanPeerAddresses (Connect.36), not dialled."""

    async def work(lab):
        request = b"\x05\x01\x00\x01\x7f\x00\x00\x01" + lab.port.to_bytes(2, "big")
        end = await lab.client()
        assert await end.ask(request) == 0
        end.send(b"x")
        assert await end.exactly(1) == b"x"
        other = await lab.client()
        assert await other.ask(request[:-2] + (lab.port ^ 1).to_bytes(2, "big")) == 2
        assert lab.emt.opened == 1

    run_cls(tmp_path, work)


@pytest.mark.req("K03")
def test_an_emt_that_is_not_there(tmp_path):
    """Refused: REP 05. Silent: REP 04 when the time is over."""

    async def work(lab):
        await lab.emt.stop()
        end = await lab.client()
        assert await end.connect(NAME) == 5
        assert lab.lab.logged("nicht aufgebaut: EMT: connection refused") == 1
        silent = socket.socket()
        silent.bind(("127.0.0.1", lab.port))
        silent.listen()
        with silent:
            end = await lab.client()
            asked = asyncio.ensure_future(end.connect(NAME))
            await lab.settle(lambda: lab.states() == ["opening the WAN leg"])
            limit = lab.lab.gateway.profile.wan.connect_s
            await lab.clock.advance((limit - 1) * SECOND)
            assert not asked.done()
            await lab.clock.advance(2 * SECOND)
            assert await asked == 4
        await lab.settle()
        await lab.lab.until(lambda: lab.lab.events("cls-channel-failed"))

    run_cls(tmp_path, work)


@pytest.mark.req("K10")
def test_certificates_decide(tmp_path):
    """Unknown, expired, none: no handshake; each is told in the system log."""

    async def work(lab):
        now = lab.clock.now().datetime()
        old = issue_cls_key("box1", now - timedelta(days=8 * 365))
        await lab.put("cls", cls_profile(lab.box, certificates=(fingerprint(old),)))
        for who in (old, issue_cls_key("box1", now), None):
            end = SocksEnd(who)
            await end.dial(lab.line.doors.addresses["socks"])
            lab.ends.append(end)
            assert await end.greet() == b"\x05\x06"
            with pytest.raises((ConnectionError, ssl.SSLError)):
                await end.handshake()
                if not await end.recv():
                    raise ConnectionError
        await lab.settle()
        assert lab.lab.logged("Verbindung am CLS-Proxy abgewiesen") == 3
        assert lab.emt.opened == 0

    run_cls(tmp_path, work)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("revoked", "certificate of the CLS revoked"),
        ("removed", "profile removed"),
        ("changed", "profile changed"),
        ("ended", "profile has ended"),
        ("old", "session too long"),
        ("idle", "idle too long"),
        ("keys", "new certificates"),
    ],
)
def test_no_channel_outlives_what_allows_it(tmp_path, change, reason):
    """Certificate, profile, validity, session length, idleness, the gateway's own keys."""
    until = {"valid_until": "2026-04-01T10:00:00Z"} if change == "ended" else {}
    idle = {"idle_s": 60} if change == "idle" else {}

    async def work(lab):
        end = await lab.channel()
        session = await lab.lab.session()
        if change == "revoked":
            await lab.put("cls", cls_profile(lab.box, certificates=()))
        elif change == "removed":
            await lab.lab.market.drive(session.delete_profile("proxy", proxy_profile(lab.port)))
        elif change == "changed":
            await lab.put("proxy", proxy_profile(lab.port, priority=7))
        elif change == "keys":
            await lab.lab.market.drive(session.new_certificates(lab.lab.market.pki))
        else:
            # commissioning has taken some minutes of the profile's day
            seconds, lead = {"ended": (86_400, 600), "old": (172_800, 30), "idle": (60, 30)}[change]
            if change == "idle":
                await lab.clock.advance(40 * SECOND)
                end.send(b"x")
                assert await end.exactly(1) == b"x"
            await lab.clock.advance((seconds - lead) * SECOND)
            assert lab.states() == ["open"]
            await lab.clock.advance((lead + 30) * SECOND)
        assert await end.recv() == b""
        end.close()
        await lab.settle(lambda: not lab.line.channels)
        assert lab.states() == []
        assert lab.lab.logged(reason) >= 1
        assert lab.emt.ended == 1

    run_cls(tmp_path, work, proxy=until | idle)


@pytest.mark.req("S03", "HAN-64")
@pytest.mark.parametrize("state", ["connectivity", "application"])
def test_a_secure_state_tears_channels_down(tmp_path, state):
    """A bridge between WAN and HAN, or a clock far off: CLS is closed at once, and opens again."""

    async def work(lab):
        end = await lab.channel()
        gateway = lab.lab.gateway
        cause = Cause.SEPARATION if state == "connectivity" else Cause.TIME_DEVIATION
        gateway._enter(cause, "test")
        assert gateway.states.state == state
        assert await end.recv() == b""
        assert lab.line.doors.addresses == {}
        assert lab.states() == []
        await lab.settle(lambda: lab.emt.ended == 1)
        assert lab.emt.ended == 1
        assert lab.lab.logged("Transparenter Kanal proxy1 beendet") == 1
        gateway.running.watch.leave(cause, Exit.SELF_TEST)
        gateway.running.watch.leave(cause, Exit.ADMINISTRATOR)
        await lab.settle(lambda: "socks" in lab.line.doors.addresses)
        again = await lab.channel()
        again.send(b"back")
        assert await again.exactly(4) == b"back"

    run_cls(tmp_path, work)


@pytest.mark.req("K11")
def test_who_does_not_answer_a_farewell_is_left(tmp_path):
    """The WAN leg waits 20 s, a SOCKS leg 5 s; then the gateway closes by itself."""

    async def work(lab):
        end = await lab.channel()
        lab.emt.writers[-1].transport.pause_reading()  # the EMT never answers
        end.close()
        await lab.settle(lambda: lab.states() != ["open"])
        assert lab.states() == ["closing the WAN leg, then the HAN leg"]
        await lab.clock.advance(19 * SECOND)
        assert lab.states() == ["closing the WAN leg, then the HAN leg"]
        await lab.clock.advance(2 * SECOND)
        assert await end.ended()
        await lab.settle(lambda: not lab.line.channels)
        assert lab.states() == []
        second = await lab.channel()
        lab.emt.writers[-1].close()  # and now it is the CLS that is silent
        await lab.settle(lambda: lab.states() != ["open"])
        assert lab.states() == ["closing the HAN leg, then the WAN leg"]
        await lab.clock.advance(4 * SECOND)
        assert lab.states() == ["closing the HAN leg, then the WAN leg"]
        await lab.clock.advance(2 * SECOND)
        await lab.settle(lambda: not lab.line.channels)
        assert lab.states() == []
        assert await second.recv() == b""

    run_cls(tmp_path, work)


@pytest.mark.req("K05")
def test_a_client_that_comes_back_at_once_is_counted(tmp_path):
    """5 to 60 s are due after a refusal; the gateway survives the loop and counts it."""

    async def work(lab):
        for _ in range(30):
            end = await lab.client()
            assert await end.connect("unknown") == 2
            end.abort()
        assert lab.line.hasty == 29
        await lab.clock.advance(6 * SECOND)
        end = await lab.channel()
        assert lab.line.hasty == 29
        end.send(b"x")
        assert await end.exactly(1) == b"x"
        assert lab.lab.logged("abgewiesen") == lab.line.rules.max_refused_log

    run_cls(tmp_path, work)


@pytest.mark.req("K09")
def test_the_link_is_cut(tmp_path):
    """Both legs go; the CLS sees its end and can ask again when the link is back."""

    async def work(lab):
        end = await lab.channel()
        gateway = lab.lab.gateway
        gateway.set_link(msgspec.structs.replace(gateway.running.watch.link, ethernet=False))
        assert await end.recv() == b""
        end.close()
        await lab.settle(lambda: not lab.line.channels)
        again = await lab.client()
        assert await again.connect(NAME) == 4  # no way to the network
        gateway.set_link(msgspec.structs.replace(gateway.running.watch.link, ethernet=True))
        await lab.clock.advance(10 * SECOND)
        await lab.channel()

    run_cls(tmp_path, work)


def test_a_kept_channel_is_not_idle(tmp_path):
    """T17: with keepalive only the session length ends it."""

    async def work(lab):
        await lab.channel()
        await lab.clock.advance(47 * 3600 * SECOND)
        assert lab.states() == ["open"]
        await lab.clock.advance(2 * 3600 * SECOND)
        assert "open" not in lab.states()

    run_cls(tmp_path, work, proxy={"idle_s": 60, "keepalive": True})


@pytest.mark.req("K10")
def test_a_certificate_that_runs_out_ends_its_channel(tmp_path):
    """The first of both certificates is over by the device's clock, whatever the session length."""

    async def work(lab):
        end = await lab.channel()
        running, now = lab.lab.gateway.running, lab.clock.now()
        until = DeviceTime.from_datetime(lab.emt.who.certificate.not_valid_after_utc)
        running.device.clock.set(now, until + -10 * SECOND, valid=True)
        running.time_adjusted()
        assert lab.states() == ["open"]
        await lab.clock.advance(20 * SECOND)
        assert await end.recv() == b""
        assert lab.lab.logged("certificate has expired") == 1

    run_cls(tmp_path, work)


def test_a_channel_with_a_strict_module(tmp_path):
    """The WAN leg's ephemeral pair and signature come from the module, as on any WAN connection."""

    async def work(lab):
        before = lab.lab.gateway.hsm.log.total
        end = await lab.channel()
        end.send(b"strict")
        assert await end.exactly(6) == b"strict"
        assert lab.lab.gateway.hsm.log.total - before >= 4

    run_cls(tmp_path, work, strict_module=True)


def test_frames_without_a_length(tmp_path):
    """The other reading of the draft: a named setting."""

    async def work(lab):
        lab.set_rules(framing="record")
        end = await lab.dial(length=False)
        assert await end.greet() == b"\x05\x06"
        await end.handshake()
        assert await end.connect(NAME) == 0
        end.send(b"x" * 50_000)
        assert await end.exactly(50_000) == b"x" * 50_000
        end.close()
        assert await end.ended()

    run_cls(tmp_path, work)


def test_a_clock_set_back_ends_what_is_not_valid_yet(tmp_path):
    """The lab moves the device's clock before the begin of the profile, and forward again."""

    async def work(lab):
        gateway = lab.lab.gateway
        end = await lab.channel()
        gateway.adjust_device_clock(-48 * 3_600_000, None, valid=None)
        assert await end.recv() == b""
        end.close()
        await lab.settle(lambda: not lab.line.channels)
        assert lab.lab.logged("beendet: profile has ended") == 1
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await lab.client()  # its certificate is not valid yet, either
        gateway.adjust_device_clock(0, None, valid=None)
        await lab.channel()

    run_cls(tmp_path, work, proxy={"valid_from": "2026-03-30T10:00:00Z"})
