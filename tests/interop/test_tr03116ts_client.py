"""TR-03116-TS, the gateway as TLS client (WAN; tables 14 and 16 of the Annex).

The Annex names the profiles; the body of the test specification is not among our texts. The ids
TLS_A2_* are those of crypto.md 1.2; which requirement stands under which number is our own
assignment, listed in docs/tls.md, so the profile in brackets counts, not the number.
"""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tls_lab import (
    GROUPS,
    NOW,
    PROFILE,
    SUITES,
    Raw,
    alert_of,
    handshake_messages,
    identity,
    material,
    pump,
    self_signed,
    wan_client,
    wan_server_context,
    with_message,
)

from hsm_sim import Purpose
from smgw_emu.bench.pki import Identity, Role
from smgw_emu.core.instants import HOUR
from smgw_emu.transport import tls
from smgw_emu.transport.handshake import (
    CERTIFICATE,
    SERVER_HELLO,
    SERVER_KEY_EXCHANGE,
    parse_client_hello,
)
from smgw_emu.transport.presets import client_context
from smgw_emu.transport.watchers import ValidityWatcher

pytestmark = pytest.mark.req("WAN-N04")
PRESETS = ("wan", "lmn")


def hello(preset: str = "wan"):
    made = material()
    context = client_context(
        preset, identity(made.gateway.tls), [made.administrator.tls.certificate_der]
    ).context
    ours = tls.TlsConnection(context, PROFILE.wan_tls, NOW, server_side=False)
    ours.start(NOW)
    ((kind, body),) = handshake_messages(ours.output())
    assert kind == 1
    return parse_client_hello(body)


def connect(change=None, context=None, **more):
    ours = wan_client(**more)
    ours.start(NOW)
    raw = Raw(context or wan_server_context(), server=True)
    events = pump(ours, raw, change) if change else pump(ours, raw)
    return ours, raw, events


def refused(change=None, context=None, alert: int | None = 40, **more) -> tls.Ended:
    ours, _, events = connect(change, context, **more)
    (end,) = events
    assert isinstance(end, tls.Ended)
    assert end.reason is tls.TlsEnd.HANDSHAKE_FAILED
    assert alert_of(ours.output()) == alert
    assert alert is None or alert in PROFILE.wan_tls.alerts
    return end


# -- ClientHello ---------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_TLS_A2_CH_01_version_is_1_2_and_no_other(preset):
    """[TLS_1.2] legacy version 0303, no supported_versions."""
    offer = hello(preset)
    assert offer.version == 0x0303
    assert 43 not in offer.extensions


@pytest.mark.parametrize("preset", PRESETS)
def test_TLS_A2_CH_02_only_the_allowed_suites(preset):
    """[PFS] the must and should list of TR-03116-3 tables 7 and 8, plus the renegotiation signal."""
    assert set(hello(preset).suites) == {*SUITES.values(), 0x00FF}


@pytest.mark.parametrize("preset", PRESETS)
def test_TLS_A2_CH_03_no_compression(preset):
    """[NO_COMPRESSION] the null method alone."""
    assert hello(preset).compressions == b"\x00"


@pytest.mark.parametrize("preset", PRESETS)
def test_TLS_A2_CH_04_groups_larger_first(preset):
    """[PFS] all allowed groups, higher key length first (DS2 Handshake.60)."""
    groups = hello(preset).groups
    assert groups == (28, 27, 24, 26, 23)
    assert set(groups) == set(GROUPS.values())


@pytest.mark.parametrize("preset", PRESETS)
def test_TLS_A2_CH_05_point_formats(preset):
    """[PFS] ec_point_formats is sent and names the uncompressed form (TR-03116-3 4.2.1)."""
    offer = hello(preset)
    assert 11 in offer.extensions
    assert 0 in offer.point_formats


@pytest.mark.parametrize("preset", PRESETS)
def test_TLS_A2_CH_06_signature_algorithms(preset):
    """[CHECK_CERTS] ECDSA with SHA-256, SHA-384, SHA-512 and no other (table 9)."""
    assert set(hello(preset).signature_algorithms) == {0x0403, 0x0503, 0x0603}


@pytest.mark.parametrize("preset", PRESETS)
def test_TLS_A2_CH_07_no_truncated_hmac(preset):
    """[NO_TRUNC_HMAC] never offered."""
    assert 4 not in hello(preset).extensions


@pytest.mark.parametrize("preset", PRESETS)
def test_TLS_A2_CH_08_encrypt_then_mac(preset):
    """[ENC_THEN_MAC] offered, a must from 2025."""
    assert 22 in hello(preset).extensions


@pytest.mark.parametrize("preset", PRESETS)
def test_TLS_A2_CH_09_extended_master_secret(preset):
    """[EXT_MASTER_SECRET] offered."""
    assert 23 in hello(preset).extensions


@pytest.mark.parametrize("preset", PRESETS)
def test_TLS_A2_CH_10_random_instead_of_time(preset):
    """[RANDOM_TIME] the first four octets are no clock: far from now, and never the same."""
    times = [int.from_bytes(hello(preset).random[:4], "big") for _ in range(20)]
    assert len(set(times)) == 20
    assert sum(abs(value - time.time()) < 86_400 for value in times) <= 1


# -- good cases ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES)
def test_TLS_A2_GP_01_every_suite(suite):
    """[TLS_CLIENT, PFS] a connection with each suite of the ICS."""
    ours, _, events = connect(context=wan_server_context(suite))
    assert isinstance(events[-1], tls.Established)
    assert ours.suite == suite


@pytest.mark.parametrize("group", GROUPS)
def test_TLS_A2_GP_02_every_group(group):
    """[PFS] a connection with each curve of the ICS."""
    groups = group if group == "brainpoolP256r1" else f"{group}:brainpoolP256r1"
    _, _, events = connect(context=wan_server_context(groups=groups))
    assert isinstance(events[-1], tls.Established)


def test_TLS_A2_GP_03_client_certificate():
    """[CLIENT_CERT] the gateway shows its WAN certificate with its Sub-CA when asked."""
    _, raw, events = connect()
    assert isinstance(events[-1], tls.Established)
    raw.step()
    assert raw.ssl.getpeercert(binary_form=True) == material().gateway.tls.certificate_der


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384"])
def test_TLS_A2_GP_04_encrypt_then_mac_is_used_with_cbc(suite):
    """[ENC_THEN_MAC] the server's answer is accepted and the connection carries data."""
    seen = []

    def look(flight, number):
        if not number:
            seen.extend(body for kind, body in handshake_messages(flight) if kind == SERVER_HELLO)
        return flight

    ours, raw, events = connect(look, wan_server_context(suite))
    assert b"\x00\x16\x00\x00" in seen[0]
    assert isinstance(events[-1], tls.Established)
    raw.step(ours.output())
    ours.send(b"payload", NOW)
    raw.incoming.write(ours.output())
    assert raw.ssl.read() == b"payload"


def test_TLS_A2_GP_05_no_session_is_resumed():
    """[SESSION_ID] resumption is permitted, not demanded: the gateway always asks for a new one."""
    assert hello().session_id == b""
    assert 35 not in hello().extensions


def test_TLS_A2_GP_06_a_session_ends_after_48_hours():
    """[DURATION] TR-03116-3 4.1.2, on virtual time, with close_notify."""
    ours, raw, _ = connect()
    raw.step(ours.output())
    assert ours.next_deadline() == NOW + 48 * HOUR
    assert ours.on_deadline(NOW + (48 * HOUR - 1)) == []
    (end,) = ours.on_deadline(NOW + 48 * HOUR)
    assert end.reason is tls.TlsEnd.TOO_OLD
    raw.incoming.write(ours.output())
    assert raw.ssl.read() == b""
    short = msgspec.structs.replace(PROFILE.wan_tls, max_session_s=60)
    ours._limits = short  # configurable by the administrator
    assert ours.next_deadline() is None


def test_TLS_A2_GP_07_close_notify_is_answered():
    """[TLS_CLIENT] the server's farewell gets ours."""
    ours, raw, _ = connect()
    raw.step(ours.output())
    with pytest.raises(ssl.SSLWantReadError):
        raw.ssl.unwrap()
    (end,) = ours.receive(raw.outgoing.read(), NOW)
    assert end.reason is tls.TlsEnd.PEER_CLOSED
    raw.incoming.write(ours.output())
    raw.ssl.unwrap()


# -- misbehaving servers -------------------------------------------------------------------------


@pytest.mark.parametrize("suite", [0xC02E, 0xCCA9, 0x009C, 0xC0AC, 0x0000])
def test_TLS_A2_FR_05_a_suite_that_was_not_offered(suite):
    """[PFS] ServerHello with another suite: fatal alert, no connection."""

    def edit(body: bytes) -> bytes:
        at = 35 + body[34]
        return body[:at] + suite.to_bytes(2, "big") + body[at + 2 :]

    refused(with_message(SERVER_HELLO, edit))


@pytest.mark.parametrize(
    ("version", "alert"), [(0x0302, 70), (0x0301, 70), (0x0300, 70), (0x0304, 70)]
)
def test_TLS_A2_FR_06_another_version(version, alert):
    """[TLS_1.2] ServerHello with 1.1, 1.0, SSL 3 or 1.3: protocol_version."""
    refused(with_message(SERVER_HELLO, lambda body: version.to_bytes(2, "big") + body[2:]),
            alert=alert)  # fmt: skip


@pytest.mark.parametrize("group", [25, 29, 30, 22, 0])
def test_TLS_A2_FR_07_a_group_that_was_not_offered(group):
    """[PFS] ServerKeyExchange on secp521r1, x25519, x448, secp256k1 or nothing."""
    refused(
        with_message(
            SERVER_KEY_EXCHANGE, lambda body: body[:1] + group.to_bytes(2, "big") + body[3:]
        )
    )


def test_TLS_A2_FR_08_compression():
    """[NO_COMPRESSION] ServerHello with deflate."""

    def edit(body: bytes) -> bytes:
        at = 37 + body[34]
        return body[:at] + b"\x01" + body[at + 1 :]

    refused(with_message(SERVER_HELLO, edit))


def test_TLS_A2_FR_09_truncated_hmac():
    """[NO_TRUNC_HMAC] an answer to an extension never offered."""

    def edit(body: bytes) -> bytes:
        at = 38 + body[34]
        extensions = body[at + 2 :] + b"\x00\x04\x00\x00"
        return body[:at] + len(extensions).to_bytes(2, "big") + extensions

    refused(with_message(SERVER_HELLO, edit))


@pytest.mark.parametrize("position", [-1, -20, 10])
def test_TLS_A2_FR_10_a_wrong_signature(position):
    """[SERVER_CERT] ServerKeyExchange whose signature or key was changed."""

    def edit(body: bytes) -> bytes:
        changed = bytearray(body)
        changed[position] ^= 1
        return bytes(changed)

    refused(with_message(SERVER_KEY_EXCHANGE, edit))


def test_TLS_A2_FR_11_a_server_that_is_not_configured():
    """[CHECK_CERTS] right PKI, right role, another certificate; also a changed one."""
    other = material().pki.participant(Role.GWA, "gwa2").tls
    refused(context=wan_server_context(who=other))
    emt = material().pki.participant(Role.EMT, "emt1").tls
    refused(context=wan_server_context(who=emt))

    def edit(body: bytes) -> bytes:
        changed = bytearray(body)
        changed[-3] ^= 1
        return bytes(changed)

    refused(with_message(CERTIFICATE, lambda body: edit(body[:100]) + body[100:]))


@pytest.mark.req("HSM-10")
def test_TLS_A2_FR_12_an_expired_certificate_by_the_devices_clock():
    """[CHECK_CERTS] expired and not yet valid by the device's time; unchecked while it has none."""
    leaf = material().administrator.tls.certificate
    for moment in (
        leaf.not_valid_after_utc + timedelta(seconds=1),
        leaf.not_valid_before_utc - timedelta(seconds=1),
    ):
        end = refused(watcher=ValidityWatcher(lambda moment=moment: moment))
        assert end.detail == "refused with alert 45"
    for good in (datetime.now(UTC), None):
        _, _, events = connect(watcher=ValidityWatcher(lambda good=good: good))
        assert isinstance(events[-1], tls.Established)
    expired = Identity(
        material().pki.issue(
            Role.GWA, "old", Purpose.TLS, material().administrator.tls.private().public_key(),
            valid_from=datetime(2020, 1, 1, tzinfo=UTC), valid_until=datetime(2021, 1, 1, tzinfo=UTC),
        ),
        (), material().administrator.tls.private(),
    )  # fmt: skip
    refused(context=wan_server_context(who=expired))


def test_TLS_A2_FR_13_renegotiation():
    """[TLS_CLIENT] HelloRequest: warning 100, close_notify, end (scenario W09).

    tlslite-ng sends it, because OpenSSL's library interface in Python cannot.
    """
    import socket
    import threading

    from tlslite.api import HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey
    from tlslite.messages import HelloRequest

    who = self_signed(ec.SECP256R1())
    left, right = socket.socketpair()
    chain = X509CertChain()
    chain.parsePemList(who.chain_pem.decode())
    key = parsePEMKey(who.key_pem().decode(), private=True)
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = (3, 3)
    settings.eccCurves = ["brainpoolP256r1", "secp256r1"]
    settings.keyShares = []

    def serve() -> None:
        connection = TLSConnection(right)
        connection.handshakeServer(certChain=chain, privateKey=key, settings=settings, reqCert=True)
        for _ in connection._sendMsg(HelloRequest().create()):
            pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    context = client_context("wan", identity(material().gateway.tls), [who.certificate_der])
    ours = tls.TlsConnection(context.context, PROFILE.wan_tls, NOW, server_side=False)
    events = ours.start(NOW)
    left.settimeout(20)
    with left:
        while not any(isinstance(event, tls.Ended) for event in events):
            left.sendall(ours.output())
            events += ours.receive(left.recv(65_536), NOW)
        out = ours.output()
    thread.join(20)
    right.close()
    assert isinstance(events[0], tls.Established)
    assert events[-1].reason is tls.TlsEnd.RENEGOTIATION
    assert out[:1] == b"\x15"  # encrypted alerts: 100 and close_notify
