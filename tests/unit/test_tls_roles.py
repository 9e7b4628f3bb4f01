"""Both TLS roles: limits of volume and time, inspection, gates, the security module's part."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fuzz import fuzz
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

from hsm_sim import Curve, Purpose, SecurityModule, SecurityModuleError
from hsm_sim.log import TLS_HANDSHAKE, follows
from hsm_sim.slots import gwa_key, wan_key
from smgw_emu.bench.pki import Role
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import DAY
from smgw_emu.profiles import ProfileError, load
from smgw_emu.transport import tls
from smgw_emu.transport.handshake import (
    SERVER_KEY_EXCHANGE,
    HandshakeError,
    HandshakeReader,
    parse_certificates,
    parse_client_hello,
    parse_server_key_exchange,
    server_extensions,
)
from smgw_emu.transport.presets import TlsIdentity, client_context, server_context
from smgw_emu.transport.watchers import HelloGate, ValidityWatcher, Watchers, watcher_of
from wan.certificates import ec_key


def lmn_pair(limits=PROFILE.lmn_tls):
    """The gateway as LMN client and a meter as LMN server, both ours, connected."""
    meter, gateway = self_signed(ec.BrainpoolP256R1(), lmn=True), self_signed(
        ec.BrainpoolP256R1(), lmn=True
    )  # fmt: skip
    server = tls.TlsConnection(
        server_context("lmn", identity(meter), peers=[gateway.certificate_der]).context, limits, NOW
    )
    client = tls.TlsConnection(
        client_context("lmn", identity(gateway), [meter.certificate_der]).context,
        limits,
        NOW,
        server_side=False,
    )
    client.start(NOW)
    for _ in range(4):
        for sender, receiver in ((client, server), (server, client)):
            if flight := sender.output():
                receiver.receive(flight, NOW)
    assert client.established
    assert server.established
    return client, server


@pytest.mark.req("LMN-N03")
def test_a_meter_link_ends_at_five_million_octets():
    """IF_GW_CON A-1.2: both directions count, handshake does not, the limit is never exceeded."""
    client, server = lmn_pair()
    chunk = b"x" * 10_000
    for number in range(499):
        sender, receiver = (client, server) if number % 2 else (server, client)
        assert sender.send(chunk, NOW) == []
        receiver.receive(sender.output(), NOW)
    assert client.payload == server.payload == 4_990_000
    (end,) = client.send(b"x" * 10_001, NOW)
    assert end.reason is tls.TlsEnd.VOLUME
    (end,) = server.receive(client.output(), NOW)
    assert end.reason is tls.TlsEnd.PEER_CLOSED
    client, server = lmn_pair()
    for _ in range(500):
        client.send(chunk, NOW)
        events = server.receive(client.output(), NOW)
    assert events[-1].reason is tls.TlsEnd.VOLUME
    assert client.send(b"x", NOW)[0].reason is tls.TlsEnd.VOLUME


@pytest.mark.req("LMN-N03")
def test_a_meter_link_ends_after_31_days():
    """TR-03116-3 6.1; no idle limit."""
    client, _ = lmn_pair()
    assert client.next_deadline() == NOW + 31 * DAY
    (end,) = client.on_deadline(NOW + 31 * DAY)
    assert end.reason is tls.TlsEnd.TOO_OLD


def test_a_pinned_server_knows_its_clients():
    """LMN server: another self-signed client, or none, gets a fatal alert."""
    meter, known = self_signed(ec.BrainpoolP256R1()), self_signed(ec.BrainpoolP256R1())
    made = server_context("lmn", identity(meter), peers=[known.certificate_der]).context
    for who in (None, identity(self_signed(ec.BrainpoolP256R1()))):
        server = tls.TlsConnection(made, PROFILE.lmn_tls, NOW)
        client = tls.TlsConnection(
            client_context("lmn", who, [meter.certificate_der]).context,
            PROFILE.lmn_tls,
            NOW,
            server_side=False,
        )
        events = client.start(NOW)
        for _ in range(4):
            ends = server.receive(client.output(), NOW)
            events += client.receive(server.output(), NOW)
            if ends:
                break
        assert ends[-1].reason is tls.TlsEnd.HANDSHAKE_FAILED


# -- inspection ----------------------------------------------------------------------------------


def test_the_offer_of_a_client_is_inspected():
    """Version, suites, groups, extensions, name: as sent by OpenSSL."""
    ours = wan_client(server_name="gwa.example")
    ours.start(NOW)
    raw = Raw(wan_server_context(), server=True)
    pump(ours, raw)
    assert ours.hello is not None
    told = ours.hello.describe()
    assert told["server_name"] == "gwa.example"
    assert told["groups"] == ["brainpoolP512r1", "brainpoolP384r1", "secp384r1", "brainpoolP256r1",
                              "secp256r1"]  # fmt: skip
    assert {"c023", "c024", "c02b", "c02c"} < set(told["suites"])
    assert "encrypt_then_mac" in told["extensions"]
    assert set(ours.hello.groups) == set(GROUPS.values())
    assert set(SUITES.values()) < set(ours.hello.suites)


def test_a_gate_refuses_by_rule():
    """A device's quirk as a rule: who offers renegotiation_info or no EMS gets an alert."""
    made = self_signed(ec.SECP384R1())
    context = server_context("han-tr2025", identity(made)).context
    limits = load("tr-2025/default").tls

    def gate(offer):
        return 47 if 23 in offer.extensions else None

    client = client_context("wan", None, [made.certificate_der]).context
    for rule, refused in ((gate, True), (lambda _offer: None, False)):
        raw = Raw(client, server=False)
        server = tls.TlsConnection(context, limits, NOW, watcher=Watchers(HelloGate(rule)))
        events = server.receive(raw.step(), NOW)
        out = server.output()
        if refused:
            assert alert_of(out) == 47
            assert events[0].reason is tls.TlsEnd.HANDSHAKE_FAILED
        else:
            assert out[:1] == b"\x16"


def _flights() -> list[bytes]:
    ours = wan_client()
    ours.start(NOW)
    hello = ours.output()
    raw = Raw(wan_server_context(), server=True)
    return [hello, raw.step(hello)]


HELLO, SERVER_FLIGHT = _flights()


@fuzz(HELLO, SERVER_FLIGHT)
def test_arbitrary_handshakes_are_read_or_refused(data):
    """10 000 inputs: messages, nothing, or a HandshakeError."""
    reader = HandshakeReader()
    try:
        for kind, body in reader.receive(data):
            for parser in (
                parse_client_hello,
                parse_certificates,
                parse_server_key_exchange,
                server_extensions,
            ):
                try:
                    found = parser(body)
                except HandshakeError:
                    continue
                if parser is parse_client_hello:
                    found.describe()
            assert 0 <= kind <= 255
    except HandshakeError:
        assert reader.over


def test_the_reader_is_bounded():
    """A message that claims 16 MiB ends the reading, records after ChangeCipherSpec are not looked at."""
    reader = HandshakeReader()
    record = b"\x16\x03\x03\x40\x00" + b"\x01\xff\xff\xff" + bytes(16_380)
    with pytest.raises(HandshakeError):
        for _ in range(10):
            list(reader.receive(record))
    reader = HandshakeReader()
    assert list(reader.receive(b"\x14\x03\x03\x00\x01\x01" + HELLO)) == []
    assert reader.over


@fuzz(SERVER_FLIGHT)
def test_arbitrary_server_flights_end_in_a_listed_alert(data):
    """10 000 server flights to the WAN client, with the device's clock watching."""
    ours = wan_client(watcher=ValidityWatcher(lambda: datetime.now(UTC)))
    ours.start(NOW)
    ours.output()
    for event in ours.receive(data, NOW):
        assert isinstance(event, tls.Ended)
    out = ours.output()
    if out[:1] == b"\x15":
        assert out[6] in PROFILE.wan_tls.alerts


# -- the security module's part ------------------------------------------------------------------


@pytest.fixture
def strict(tmp_path):
    """A gateway whose WAN TLS key lies in a strict module, and that module."""
    module = SecurityModule(tmp_path / "hsm", strict=True)
    slot = wan_key(Purpose.TLS)
    key = module.generate(slot, Curve.BRAINPOOL_P256)
    made = material()
    certificate = made.pki.issue(Role.SMGW, "ETHE0399000003", Purpose.TLS, key)
    from smgw_emu.bench.pki import der

    who = TlsIdentity(
        der(certificate),
        lambda digest: module.sign_digest(slot, digest),
        lambda: module.private_key_for_process(slot),
        (der(made.pki.sub_ca),),
    )
    module.import_public_key(gwa_key(Purpose.TLS), ec_key(made.administrator.tls.certificate))
    context = client_context("wan", who, [made.administrator.tls.certificate_der])
    assert context.key_in_module
    return module, context.context, der(certificate)


def _strict_client(module, context):
    watcher = watcher_of(module, gwa_key(Purpose.TLS))
    assert watcher is not None
    return tls.TlsConnection(context, PROFILE.wan_tls, NOW, server_side=False, watcher=watcher)


@pytest.mark.req("HSM-01")
def test_the_command_order_of_a_strict_handshake(strict):
    """Figure F28: random, ECKA with P_A, signature of CertificateVerify, verification; in the log."""
    module, context, leaf = strict
    made = material()
    start = module.log.total
    drawn, agreed = [], []
    random, agree = module.random, module.agree_ephemeral
    module.random = lambda count: drawn.append(random(count)) or drawn[-1]
    module.agree_ephemeral = lambda peer: agreed.append(agree(peer)) or agreed[-1]
    ours = _strict_client(module, context)
    ours.start(NOW)
    server = server_context(
        "wan", identity(made.administrator.tls), peers=[leaf]
    ).context  # our own preset on the other side: brainpool only
    raw = Raw(server, server=True)
    flights = []
    original = raw.step
    raw.step = lambda data=b"": flights.append(data) or original(data)
    events = pump(ours, raw)
    assert isinstance(events[-1], tls.Established)
    # random A and the ephemeral pair of the connection are the module's own
    assert ours._watcher.inside
    assert ours.hello.random == drawn[0]
    ((point, _shared),) = agreed
    exchange = dict(handshake_messages(flights[1][: flights[1].find(b"\x14\x03\x03")]))[16]
    assert exchange == bytes((len(point),)) + point
    raw.step(ours.output())
    ours.send(b"payload", NOW)
    raw.incoming.write(ours.output())
    assert raw.ssl.read() == b"payload"
    entries = module.log.since(start)
    assert follows(entries, TLS_HANDSHAKE)
    module.strict = False
    assert watcher_of(module, "") is None
    names = [entry.command for entry in entries if not entry.command.startswith("MSE")]
    assert names == [
        "GET CHALLENGE",
        "GENERAL AUTHENTICATE",
        "PSO: VERIFY DIGITAL SIGNATURE",
        "PSO: COMPUTE DIGITAL SIGNATURE",
    ]


@pytest.mark.parametrize("group", GROUPS)
def test_the_modules_pairs_work_on_every_curve(strict, group):
    """Each curve of the preset, with OpenSSL's server on the other side of the pair."""
    module, context, leaf = strict
    made = material()
    groups = group if group == "brainpoolP256r1" else f"{group}:brainpoolP256r1"
    from smgw_emu.transport import _libssl

    server = server_context("wan", identity(made.administrator.tls), peers=[leaf]).context
    _libssl.set_groups(server, groups)
    ours = _strict_client(module, context)
    ours.start(NOW)
    raw = Raw(server, server=True)
    assert isinstance(pump(ours, raw)[-1], tls.Established)
    # an ordinary handshake in the same process is untouched
    plain = wan_client()
    plain.start(NOW)
    assert isinstance(pump(plain, Raw(wan_server_context(), server=True))[-1], tls.Established)


def test_where_the_pairs_cannot_be_used_the_commands_run_beside(strict, monkeypatch):
    """A later libcrypto: the log still shows the order, ``inside`` says what is missing."""
    from smgw_emu.transport import _ephemeral, watchers

    def refuse():
        raise _ephemeral.LibsslError("no such call")

    monkeypatch.setattr(_ephemeral, "install", refuse)
    watchers._ephemeral_in_module.cache_clear()
    module, context, leaf = strict
    made = material()
    start = module.log.total
    ours = _strict_client(module, context)
    assert not ours._watcher.inside
    ours.start(NOW)
    server = server_context("wan", identity(made.administrator.tls), peers=[leaf]).context
    assert isinstance(pump(ours, Raw(server, server=True))[-1], tls.Established)
    assert follows(module.log.since(start), TLS_HANDSHAKE)
    watchers._ephemeral_in_module.cache_clear()


def test_the_modules_verdict_counts(strict):
    """If the module does not verify the server's signature the handshake ends (51, sent as 40)."""
    module, context, leaf = strict
    made = material()
    other = made.pki.participant(Role.GWA, "other").tls.certificate
    module.import_public_key(gwa_key(Purpose.TLS), ec_key(other))
    ours = _strict_client(module, context)
    ours.start(NOW)
    server = server_context("wan", identity(made.administrator.tls), peers=[leaf]).context
    (end,) = pump(ours, Raw(server, server=True))
    assert end.detail == "refused with alert 51"
    ours = _strict_client(module, context)
    ours.start(NOW)
    (end,) = pump(
        ours,
        Raw(server, server=True),
        with_message(SERVER_KEY_EXCHANGE, lambda body: body[:1] + b"\x00\x1d" + body[3:]),
    )
    assert end.detail == "refused with alert 47"
    module.sign_digest = lambda *_: (_ for _ in ()).throw(SecurityModuleError("locked"))
    module.agree_ephemeral = module.sign_digest
    ours = _strict_client(module, context)
    ours.start(NOW)
    (end,) = pump(ours, Raw(server, server=True))
    assert end.detail == "refused with alert 80"


# -- configuration -------------------------------------------------------------------------------


def test_contexts_without_a_peer_or_preset_are_refused():
    """Nobody pinned means nobody trusted."""
    who = identity(material().gateway.tls)
    with pytest.raises(ConfigError, match="no peer"):
        client_context("wan", who, [])
    with pytest.raises(ConfigError, match="cannot be read"):
        client_context("wan", who, [b"junk"])
    with pytest.raises(ConfigError, match="han-conexa"):
        client_context("wam", who, [b"x"])


@pytest.mark.parametrize(
    ("table", "value"), [("tls", 172_801), ("wan_tls", 172_801), ("lmn_tls", 2_678_401)]
)
@pytest.mark.req("WAN-N04")
def test_longer_sessions_than_allowed_are_refused(tmp_path, table, value):
    """T40: more than 48 h must not be accepted; LMN 31 days."""
    (tmp_path / "p.toml").write_text(
        f'extends = "conexa-3.0/v3.87"\n[{table}]\nmax_session_s = {value}\n'
    )
    with pytest.raises(ProfileError, match="max_session_s"):
        load("p.toml", tmp_path)


def test_a_key_log_on_request(tmp_path):
    """For captures: the secrets of both roles, only when asked for."""
    made = material()
    logs = [tmp_path / "client", tmp_path / "server"]
    client = client_context(
        "wan", identity(made.gateway.tls), [made.administrator.tls.certificate_der],
        keylog=str(logs[0]),
    ).context  # fmt: skip
    server = server_context(
        "wan", identity(made.administrator.tls), peers=[made.gateway.tls.certificate_der],
        keylog=str(logs[1]),
    ).context  # fmt: skip
    ours = tls.TlsConnection(client, PROFILE.wan_tls, NOW, server_side=False)
    ours.start(NOW)
    raw = Raw(server, server=True)
    assert isinstance(pump(ours, raw)[-1], tls.Established)
    lines = [
        [line for line in log.read_text().splitlines() if line.startswith("CLIENT_RANDOM")]
        for log in logs
    ]
    assert lines[0] == lines[1]
    assert len(lines[0]) == 1
    assert ours.hello is not None
    assert ours.hello.random.hex() in lines[0][0].lower()
    with pytest.raises(ssl.SSLWantReadError):
        raw.ssl.read()
    assert handshake_messages(HELLO)[0][0] == 1
    assert msgspec.structs.asdict(PROFILE.wan_tls)["preset"] == "wan"
