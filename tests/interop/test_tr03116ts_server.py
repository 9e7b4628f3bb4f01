"""TR-03116-TS, the gateway as TLS server (HAN and LMN; tables 12 and 13 of the Annex).

As in test_tr03116ts_client: the profiles are the Annex's, the numbers our own assignment
(docs/tls.md). tlslite-ng plays the misbehaving client where it can.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tls_lab import (
    GROUPS,
    NOW,
    PROFILE,
    SUITES,
    Raw,
    alert_of,
    flight_of,
    handshake_messages,
    identity,
    self_signed,
)

from smgw_emu.core.instants import HOUR, SECOND
from smgw_emu.transport import _libssl, tls
from smgw_emu.transport.handshake import CLIENT_HELLO, SERVER_HELLO
from smgw_emu.transport.presets import server_context

pytestmark = pytest.mark.req("HAN-07")
SERVER = self_signed(ec.SECP384R1())
CONTEXT = server_context("han-conexa", identity(SERVER)).context
MODERN = server_context("han-tr2025", identity(SERVER)).context
ALERTS = set(PROFILE.tls.alerts)


def client(
    suites: str = "ECDHE+ECDSA:@SECLEVEL=0",
    groups: str = "P-384",
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    who=None,
    **more,
) -> Raw:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if version is not ssl.TLSVersion.TLSv1_3:
        context.set_ciphers(suites)
    _libssl.set_groups(context, groups)
    if who is not None:
        from smgw_emu.transport.presets import _install_key

        _install_key(context, identity(who))
    return Raw(context, server=False, **more)


def connect(raw: Raw, context=CONTEXT, change=lambda flight, _number: flight):
    ours = tls.TlsConnection(context, PROFILE.tls, NOW)
    events: list = []
    out = b""
    for number in range(6):
        flight = raw.step(out)
        if flight:
            events += ours.receive(change(flight, number), NOW)
        out = ours.output()
        if any(isinstance(event, (tls.Ended, tls.Established)) for event in events):
            break
    return ours, events, out


def established(raw: Raw, context=CONTEXT):
    ours, events, out = connect(raw, context)
    assert isinstance(events[-1], tls.Established), events
    raw.step(out)
    return ours


def refused(raw: Raw, alert: int, context=CONTEXT, change=lambda flight, _number: flight) -> None:
    _, events, out = connect(raw, context, change)
    assert isinstance(events[-1], tls.Ended), events
    assert events[-1].reason is tls.TlsEnd.HANDSHAKE_FAILED
    assert alert_of(out) == alert
    assert alert in ALERTS


# -- good cases ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES)
def test_TLS_B2_GP_01_every_suite(suite):
    """[TLS_SERVER, PFS] each suite of the ICS."""
    assert established(client(suite)).suite == suite


@pytest.mark.parametrize("group", GROUPS)
def test_TLS_B2_GP_02_every_group(group):
    """[ECC] each curve of the preset; the server's own certificate is on P-384."""
    established(client(groups=group if group == "P-384" else f"{group}:P-384"), MODERN)


def test_TLS_B2_GP_03_a_client_certificate_is_reported():
    """[CLIENT_CERT] self-signed, unknown issuer: asked for, proven, handed on."""
    consumer = self_signed(ec.SECP384R1())
    _, events, _ = connect(client(who=consumer))
    assert events[-1] == tls.Established(consumer.certificate_der)


def test_TLS_B2_GP_04_without_a_client_certificate():
    """[CLIENT_CERT] the consumer may log in by digest instead (HKS2)."""
    _, events, _ = connect(client())
    assert events[-1] == tls.Established(None)


def test_TLS_B2_GP_05_the_server_prefers_gcm():
    """[ENC_THEN_MAC] whatever the client's order, an AEAD suite is chosen if offered."""
    for last in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"):
        offered = f"ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA256:{last}"
        assert established(client(offered)).suite == last


def server_hello(raw: Raw, change=lambda flight: flight, context=CONTEXT) -> bytes:
    ours = tls.TlsConnection(context, PROFILE.tls, NOW)
    ours.receive(change(raw.step()), NOW)
    found = [body for kind, body in handshake_messages(ours.output()) if kind == SERVER_HELLO]
    return found[0] if found else b""


def extensions(hello: bytes) -> set[int]:
    at = 38 + hello[34]
    data, found = hello[at + 2 :], set()
    while data:
        found.add(int.from_bytes(data[:2], "big"))
        data = data[4 + int.from_bytes(data[2:4], "big") :]
    return found


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384"])
def test_TLS_B2_GP_06_encrypt_then_mac_with_cbc(suite):
    """[ENC_THEN_MAC] used if offered and a CBC suite is chosen."""
    assert 22 in extensions(server_hello(client(suite)))
    established(client(suite))


def test_TLS_B2_GP_07_extended_master_secret():
    """[EXT_MASTER_SECRET] confirmed."""
    assert 23 in extensions(server_hello(client()))


def test_TLS_B2_GP_08_duration():
    """[DURATION] 48 h at most, 10 minutes without payload (IF_GW_CON A-1.2), on virtual time."""
    ours = established(client())
    assert ours.next_deadline() == NOW + 600 * SECOND
    ours.last_data = NOW + 48 * HOUR
    (end,) = ours.on_deadline(NOW + 48 * HOUR)
    assert end.reason is tls.TlsEnd.TOO_OLD


def test_TLS_B2_GP_09_close_notify():
    """[TLS_SERVER] answered."""
    raw = client()
    ours = established(raw)
    with pytest.raises(ssl.SSLWantReadError):
        raw.ssl.unwrap()
    (end,) = ours.receive(raw.outgoing.read(), NOW)
    assert end.reason is tls.TlsEnd.PEER_CLOSED
    raw.incoming.write(ours.output())
    raw.ssl.unwrap()


def test_TLS_B2_GP_10_the_certificate_request():
    """[SERVER_CERT, CLIENT_CERT] the server shows its certificate and asks for ECDSA ones only."""
    raw = client()
    ours = tls.TlsConnection(CONTEXT, PROFILE.tls, NOW)
    ours.receive(raw.step(), NOW)
    messages = dict(handshake_messages(ours.output()))
    assert SERVER.certificate_der in messages[11]
    request = messages[13]
    types = request[1 : 1 + request[0]]
    assert 64 in types  # ecdsa_sign
    at = 1 + request[0]
    size = int.from_bytes(request[at : at + 2], "big")
    algorithms = request[at + 2 : at + 2 + size]
    assert {algorithms[n : n + 2].hex() for n in range(0, size, 2)} == {"0403", "0503", "0603"}


# -- misbehaving clients -------------------------------------------------------------------------


def with_hello(edit):
    """Return a change of the ClientHello in the first flight."""

    def change(flight: bytes, number: int = 0) -> bytes:
        if number:
            return flight
        ((kind, body),) = handshake_messages(flight)
        assert kind == CLIENT_HELLO
        return flight_of([(kind, edit(body))])

    return change


def test_TLS_B2_FR_01_only_tls_1_1():
    """[TLS_1.2] protocol_version."""
    refused(client(), 70, change=with_hello(lambda body: b"\x03\x02" + body[2:]))


def test_TLS_B2_FR_02_only_tls_1_3():
    """[TLS_1.2] a client without 1.2 gets protocol_version."""
    refused(client(version=ssl.TLSVersion.TLSv1_3), 70)


@pytest.mark.parametrize(
    ("version", "alert"), [(b"\x03\x01", 70), (b"\x03\x00", 40), (b"\x02\x00", 70)]
)
def test_TLS_B2_FR_03_only_older_versions(version, alert):
    """[TLS_1.2] TLS 1.0 and nonsense: protocol_version; SSL 3.0 has no such alert, so 40."""
    refused(client(), alert, change=with_hello(lambda body: version + body[2:]))


def suites(*numbers: int):
    """Replace the suites of a ClientHello."""

    def edit(body: bytes) -> bytes:
        at = 35 + body[34]
        old = int.from_bytes(body[at : at + 2], "big")
        new = b"".join(number.to_bytes(2, "big") for number in numbers)
        return body[:at] + len(new).to_bytes(2, "big") + new + body[at + 2 + old :]

    return with_hello(edit)


@pytest.mark.parametrize("suite", [0x003C, 0x009C, 0xC025, 0xC02D])
def test_TLS_B2_FR_04_suites_without_forward_secrecy(suite):
    """[PFS] RSA and static ECDH suites: handshake_failure."""
    refused(client(), 40, change=suites(suite))


@pytest.mark.parametrize("suite", [0xCCA9, 0xC02F, 0xC009, 0xC008, 0x0000, 0xC0AC])
def test_TLS_B2_FR_05_suites_outside_the_list(suite):
    """[PFS] ChaCha20, RSA authentication, SHA-1, 3DES, NULL, CCM: handshake_failure."""
    refused(client(), 40, change=suites(suite))


@pytest.mark.parametrize("group", ["P-256", "brainpoolP384r1", "X25519"])
def test_TLS_B2_FR_06_no_common_curve(group):
    """[ECC] a CONEXA knows secp384r1 only: handshake_failure."""
    refused(client(groups=group), 40)


def compression(body: bytes) -> bytes:
    at = 35 + body[34]
    at += 2 + int.from_bytes(body[at : at + 2], "big")
    return body[:at] + b"\x01\x01" + body[at + 1 + body[at] :]


def test_TLS_B2_FR_07_compression_only():
    """[NO_COMPRESSION] without the null method there is no connection."""
    refused(client(), 40, change=with_hello(compression))


def test_TLS_B2_FR_08_truncated_hmac_is_not_accepted():
    """[NO_TRUNC_HMAC] the extension is not answered; the connection stands without it."""

    def edit(body: bytes) -> bytes:
        at = 35 + body[34]
        at += 2 + int.from_bytes(body[at : at + 2], "big")
        at += 1 + body[at]
        more = body[at + 2 :] + b"\x00\x04\x00\x00"
        return body[:at] + len(more).to_bytes(2, "big") + more

    hello = server_hello(client(), with_hello(edit))
    assert hello
    assert 4 not in extensions(hello)


# tlslite-ng


def tlslite(work, fault: str = "", groups=("secp384r1",)):
    """Let tlslite-ng connect; returns our end and its events after ``work(connection)``."""
    from tlslite.api import HandshakeSettings, TLSConnection
    from tlslite.constants import Fault

    left, right = socket.socketpair()
    failure: list[BaseException] = []

    def run() -> None:
        connection = TLSConnection(right)
        if fault:
            connection.fault = getattr(Fault, fault)
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = (3, 3)
        settings.eccCurves = list(groups)
        settings.keyShares = []
        try:
            work(connection, settings)
        except BaseException as error:
            failure.append(error)
        with contextlib.suppress(OSError):
            right.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ours = tls.TlsConnection(UNASKED, PROFILE.tls, NOW)
    events: list = []
    left.settimeout(20)
    with left:
        while not ours.over:
            try:
                data = left.recv(65_536)
            except OSError:
                break
            events += ours.receive(data, NOW)
            with contextlib.suppress(OSError):
                left.sendall(ours.output())
    thread.join(20)
    right.close()
    return ours, events, failure


# tlslite-ng gives up when it is asked for an ECDSA certificate only, so it is not asked
UNASKED = server_context("han-conexa", identity(SERVER)).context
UNASKED.verify_mode = ssl.CERT_NONE


def handshake(connection, settings) -> None:
    connection.handshakeClientCert(settings=settings)


def test_TLS_B2_FR_09_renegotiation_by_the_client():
    """[NO_RENEGOTIATION] a second ClientHello inside the session ends it."""
    from tlslite.messages import ClientHello

    def work(connection, settings) -> None:
        handshake(connection, settings)
        hello = ClientHello().create((3, 3), bytearray(32), bytearray(0), [0xC02C])
        for _ in connection._sendMsg(hello):
            pass
        connection.read()

    _, events, _ = tlslite(work)
    assert isinstance(events[0], tls.Established)
    assert events[-1].reason is tls.TlsEnd.RENEGOTIATION


def test_TLS_B2_FR_10_no_resumption_by_session_id():
    """[SESSION_ID] permitted, not offered: the session id is empty, a second try is a full one."""
    sessions = []

    def first(connection, settings) -> None:
        handshake(connection, settings)
        sessions.append(connection.session)
        connection.close()

    tlslite(first)
    assert bytes(sessions[0].sessionID) == b""
    hello = server_hello(client())
    assert hello[34] == 0


def test_TLS_B2_FR_11_no_ticket():
    """[SESSION_TICKET] permitted, not offered: no ticket is promised or sent."""
    raw = client()
    assert 35 not in extensions(server_hello(raw))
    raw = client()
    established(raw)
    assert raw.ssl.session is None or not raw.ssl.session.has_ticket


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.BrainpoolP256R1()])
def test_TLS_B2_FR_12_a_client_certificate_on_another_curve(curve):
    """[CHECK_CERTS] P-384 only; the alert is one of the device's table."""
    consumer = self_signed(curve)
    names = {"secp256r1": "P-256"}.get(curve.name, curve.name)
    refused(client(who=consumer, groups=f"P-384:{names}"), 40)


def talk(connection, settings) -> None:
    handshake(connection, settings)
    connection.write(b"x" * 40)
    connection.close()


def with_fault(fault: str, reason: tls.TlsEnd):
    _, events, _ = tlslite(talk)
    assert [type(event) for event in events[:2]] == [tls.Established, tls.Data]
    _, events, failure = tlslite(talk, fault)
    assert isinstance(events[-1], tls.Ended), (events, failure)
    assert events[-1].reason is reason, (events, failure)
    assert not any(isinstance(event, tls.Data) for event in events)


def test_TLS_B2_FR_13_a_wrong_certificate_verify():
    """[CLIENT_CERT] possession of the key is proven whatever the certificate."""
    consumer = self_signed(ec.SECP384R1())
    raw = client(who=consumer)

    def change(flight: bytes, number: int) -> bytes:
        messages = handshake_messages(flight[: flight.find(b"\x14\x03\x03\x00\x01\x01")])
        if number == 0 or not any(kind == 15 for kind, _ in messages):
            return flight
        rest = flight[flight.find(b"\x14\x03\x03\x00\x01\x01") :]
        bad = [(kind, body[:-1] + bytes((body[-1] ^ 1,)) if kind == 15 else body)
               for kind, body in messages]  # fmt: skip
        return flight_of(bad) + rest

    _, events, out = connect(raw, CONTEXT, change)
    assert isinstance(events[-1], tls.Ended)
    assert alert_of(out) == 40


def test_TLS_B2_FR_14_a_wrong_finished():
    """[TLS_SERVER] tlslite-ng's fault badFinished."""
    with_fault("badFinished", tls.TlsEnd.HANDSHAKE_FAILED)


def test_TLS_B2_FR_15_a_wrong_mac():
    """[TLS_SERVER] a record whose tag was changed ends the session, nothing is delivered."""
    raw = client()
    ours = established(raw)
    raw.ssl.write(b"secret")
    record = bytearray(raw.outgoing.read())
    record[-1] ^= 1
    (end,) = ours.receive(bytes(record), NOW)
    assert end.reason is tls.TlsEnd.PROTOCOL_ERROR


def test_TLS_B2_FR_16_a_wrong_padding():
    """[TLS_SERVER] a CBC record with a changed block: refused like a wrong MAC (no oracle)."""
    raw = client("ECDHE-ECDSA-AES128-SHA256")
    ours = established(raw)
    ends = []
    for position in (6, -17, -40):
        raw = client("ECDHE-ECDSA-AES128-SHA256")
        ours = established(raw)
        raw.ssl.write(b"secret" * 20)
        record = bytearray(raw.outgoing.read())
        record[position] ^= 0x80
        ends += ours.receive(bytes(record), NOW)
    assert {end.reason for end in ends} == {tls.TlsEnd.PROTOCOL_ERROR}
    assert len({end.detail for end in ends}) == 1


def test_TLS_B2_FR_17_data_before_the_handshake_is_over():
    """[TLS_SERVER] application data in the clear: unexpected_message."""
    raw = client()

    def change(flight: bytes, number: int) -> bytes:
        return flight if number else flight + b"\x17\x03\x03\x00\x05hello"

    _, events, out = connect(raw, CONTEXT, change)
    assert isinstance(events[-1], tls.Ended)
    assert alert_of(out) == 10


def test_TLS_B2_FR_18_the_fallback_signal():
    """[TLS_1.2] with 1.2 it changes nothing; below 1.2 protocol_version comes first (crypto.md 5.8)."""
    numbers = (0xC02C, 0x5600)
    assert server_hello(client(), suites(*numbers))
    refused(
        client(), 70,
        change=lambda flight, number: with_hello(lambda body: b"\x03\x02" + body[2:])(
            suites(*numbers)(flight, number), number
        ),
    )  # fmt: skip
