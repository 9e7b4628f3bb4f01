"""TLS and HTTP machines without sockets, with hostile bytes."""

from __future__ import annotations

import contextlib
import itertools
import ssl

import h11
import msgspec
import pytest
from fuzz import fuzz
from hypothesis import given
from hypothesis import strategies as st

from hsm_sim import Curve, SecurityModule, SecurityModuleError
from hsm_sim.certificates import han_certificate
from hsm_sim.slots import HAN_TLS
from smgw_emu.core.errors import ConfigError, LocalProtocolError
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.profiles import ProfileError, available, load
from smgw_emu.transport import _libssl, tls
from smgw_emu.transport.http import BadRequest, HttpServer, NoMoreRequests, Request, Response
from smgw_emu.transport.presets import PRESETS, TlsIdentity, server_context

PROFILE = load()
NOW = WorldTime(1_800_000_000 * SECOND)
GOOD = (
    b"POST /smgw/m2m/x.sm/json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b'Content-Length: 22\r\n\r\n{"method":"smgw-info"}'
)


# -- HTTP ----------------------------------------------------------------------------------------


def drain(server: HttpServer) -> list:
    events = []
    while True:
        event, _ = server.next_event()
        if event is None:
            return events
        events.append(event)
        if not isinstance(event, Request):
            return events
        server.respond(Response(200, b"ok"))


@given(st.lists(st.integers(0, 400), max_size=12))
def test_requests_do_not_depend_on_chunking(places):
    """Two pipelined requests arrive however the stream is cut."""
    stream = GOOD * 2
    edges = sorted({0, len(stream), *(p % len(stream) for p in places)})
    server = HttpServer(PROFILE.http)
    events = []
    for begin, end in itertools.pairwise(edges):
        server.receive(stream[begin:end])
        events += drain(server)
    assert [event.body for event in events] == [b'{"method":"smgw-info"}'] * 2
    assert events[0].path == "/smgw/m2m/x.sm/json"
    assert not server.busy


@pytest.mark.req("HAN-N07")
@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_acceptable_request_is_400_and_the_end(head):
    """Chunked, no length, wrong length, no host, oversized headers, another protocol."""
    server = HttpServer(PROFILE.http)
    server.receive(head)
    server.receive(b"")
    event, _ = server.next_event()
    if head.startswith(b"\x16"):
        assert isinstance(event, (BadRequest, NoMoreRequests))
        return
    assert isinstance(event, BadRequest)
    assert (event.response.status, event.response.close) == (400, True)
    out, goes_on = server.respond(event.response)
    assert out.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert not goes_on


def test_a_body_above_the_limit_is_refused_before_it_is_complete():
    """Memory stays bounded: the limit counts while the body arrives."""
    server = HttpServer(PROFILE.http)
    server.receive(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
    for _ in range(20):
        server.receive(b"x" * 8192)
        event, _ = server.next_event()
        if isinstance(event, BadRequest):
            assert event.reason == "body too long"
            return
    raise AssertionError("never refused")


def test_expect_100_continue_is_answered():
    """Curl waits for it with large bodies."""
    server = HttpServer(PROFILE.http)
    server.receive(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
    )
    event, out = server.next_event()
    assert event is None
    assert out.startswith(b"HTTP/1.1 100")


def test_chunked_is_read_where_the_profile_allows_it():
    """A lenient profile takes what h11 takes."""
    server = HttpServer(msgspec.structs.replace(PROFILE.http, require_content_length=False))
    server.receive(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    )
    event, _ = server.next_event()
    assert isinstance(event, Request) and event.body == b"hi"


def test_answering_without_a_request_is_our_fault():
    """LocalProtocolError, not a corrupted stream."""
    server = HttpServer(PROFILE.http)
    server.receive(GOOD)
    server.next_event()
    server.respond(Response(200, close=True))
    with pytest.raises(LocalProtocolError):
        server.respond(Response(200))


def test_responses_are_read_by_h11s_own_client():
    """Status, headers and body as an independent role of the library reads them."""
    server, client = HttpServer(PROFILE.http), h11.Connection(h11.CLIENT)
    server.receive(GOOD)
    server.next_event()
    client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    out, goes_on = server.respond(Response(307, b"", [("location", "/x")]))
    client.receive_data(out)
    response = client.next_event()
    assert b"\r\nLocation: /x\r\nContent-Length: 0\r\n" in out
    assert goes_on and response.status_code == 307
    assert (b"location", b"/x") in list(response.headers)
    assert isinstance(client.next_event(), h11.EndOfMessage)


def test_head_gets_headers_only_and_the_connection_goes_on():
    """The length of the page, none of its octets; the next request is answered."""
    server = HttpServer(PROFILE.http)
    server.receive(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + GOOD)
    server.next_event()
    out, goes_on = server.respond(Response(200, b"page"), head_only=True)
    assert goes_on and b"Content-Length: 4" in out and out.endswith(b"\r\n\r\n")
    event, _ = server.next_event()
    assert event.body == b'{"method":"smgw-info"}'


@fuzz(GOOD)
def test_arbitrary_bytes_give_requests_or_400(data):
    """10 000 streams: a request, a refusal, or waiting; never an exception."""
    server = HttpServer(PROFILE.http)
    server.receive(data)
    for event in drain(server):
        assert isinstance(event, (Request, BadRequest, NoMoreRequests))


# -- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    module = SecurityModule(tmp_path_factory.mktemp("hsm"))
    key = module.generate(HAN_TLS, Curve.P384)
    from datetime import UTC, datetime

    leaf = han_certificate(
        "ETHE0300004261",
        key,
        lambda d: module.sign_digest(HAN_TLS, d),
        datetime(2026, 1, 1, tzinfo=UTC),
    )
    return TlsIdentity(
        leaf,
        lambda d: module.sign_digest(HAN_TLS, d),
        lambda: module.private_key_for_process(HAN_TLS),
    )


@pytest.fixture(scope="module")
def context(identity):
    return server_context("han-conexa", identity).context


class Client:
    """The standard library's client on memory buffers."""

    def __init__(self, groups: str = "") -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if groups:
            _libssl.set_groups(context, groups)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self.incoming, self.outgoing)

    def step(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.ssl.do_handshake()
        return self.outgoing.read()


def connect(context, now=NOW) -> tuple[tls.TlsConnection, Client]:
    server, client = tls.TlsConnection(context, PROFILE.tls, now), Client()
    for _ in range(4):
        events = server.receive(client.step(), now)
        client.incoming.write(server.output())
        if any(isinstance(event, tls.Established) for event in events):
            client.step()
            return server, client
    raise AssertionError("no handshake")


def test_the_tls_key_stays_in_the_security_module(identity):
    """Libssl signs through the module; the process never holds the private key (HSM-01)."""
    made = server_context("han-conexa", identity)
    assert made.key_in_module
    connect(made.context)


def test_the_fallback_is_named_and_works(identity, monkeypatch):
    """Where the bridge cannot work, the key is loaded and the flag says so."""

    def refuse(*_):
        raise _libssl.LibsslError("no")

    monkeypatch.setattr(_libssl, "use_external_key", refuse)
    made = server_context("han-conexa", identity)
    assert not made.key_in_module
    connect(made.context)


def test_a_module_that_refuses_fails_the_handshake(identity):
    """A locked module is a failed handshake with an alert of the table, not a crash."""

    def locked(_digest):
        raise SecurityModuleError("locked")

    broken = TlsIdentity(identity.certificate, locked, identity.private_key)
    server = tls.TlsConnection(server_context("han-conexa", broken).context, PROFILE.tls, NOW)
    (event,) = server.receive(Client().step(), NOW)
    assert event.reason is tls.TlsEnd.HANDSHAKE_FAILED
    assert server.output()[-1] in PROFILE.tls.alerts


@pytest.mark.req("HAN-07")
def test_limits_of_a_session(context):
    """Idle 600 s from the last payload, 48 h from the handshake, 20 s for the handshake."""
    server, client = connect(context)
    client.incoming.write(server.output())
    assert server.next_deadline() == NOW + 600 * SECOND
    assert server.on_deadline(NOW + 599 * SECOND) == []
    server.send(b"x", NOW + 599 * SECOND)
    assert server.next_deadline() == NOW + 1199 * SECOND
    server.last_data = NOW + 48 * 3600 * SECOND
    (event,) = server.on_deadline(NOW + 48 * 3600 * SECOND)
    assert event.reason is tls.TlsEnd.TOO_OLD
    client.incoming.write(server.output())
    assert client.ssl.read(1) == b"x"
    assert client.ssl.read() == b""  # close_notify, not a bare end
    assert server.next_deadline() is None
    fresh = tls.TlsConnection(context, PROFILE.tls, NOW)
    assert fresh.next_deadline() == NOW + 20 * SECOND
    (event,) = fresh.on_deadline(NOW + 20 * SECOND)
    assert event.reason is tls.TlsEnd.HANDSHAKE_TIMEOUT
    assert fresh.receive(b"x", NOW) == [] == fresh.close()


def test_close_notify_is_answered(context):
    """The peer's farewell gets ours."""
    server, client = connect(context)
    client.incoming.write(server.output())
    with pytest.raises(ssl.SSLWantReadError):
        client.ssl.unwrap()
    (event,) = server.receive(client.outgoing.read(), NOW)
    assert event.reason is tls.TlsEnd.PEER_CLOSED
    client.incoming.write(server.output())
    client.ssl.unwrap()


@fuzz(Client().step())
def test_arbitrary_bytes_on_the_tls_port_end_in_a_listed_alert(data):
    """10 000 first flights: waiting, an end with an alert of the table, or silence."""
    server = tls.TlsConnection(_FUZZED, PROFILE.tls, NOW)
    for event in server.receive(data, NOW):
        assert isinstance(event, (tls.Ended, tls.Data, tls.Established))
    out = server.output()
    if out[:1] == b"\x15":
        assert out[6] in PROFILE.tls.alerts


def _fuzz_context() -> ssl.SSLContext:
    import tempfile
    from datetime import UTC, datetime
    from pathlib import Path

    module = SecurityModule(Path(tempfile.mkdtemp()))
    key = module.generate(HAN_TLS, Curve.P384)
    leaf = han_certificate(
        "ETHE0300004261",
        key,
        lambda d: module.sign_digest(HAN_TLS, d),
        datetime(2026, 1, 1, tzinfo=UTC),
    )
    made = TlsIdentity(leaf, lambda d: module.sign_digest(HAN_TLS, d), lambda: b"")
    return server_context("han-conexa", made).context


_FUZZED = _fuzz_context()


def test_the_tr_2025_preset_takes_all_five_curves(identity):
    """crypto.md 1.2: the other profile offers what CONEXA does not."""
    context = server_context("han-tr2025", identity).context
    for group in ("P-256", "brainpoolP512r1"):
        server = tls.TlsConnection(context, PROFILE.tls, NOW)
        client = Client(f"{group}:P-384")
        server.receive(client.step(), NOW)
        assert server.output()[:1] == b"\x16"


@pytest.mark.req("HSM-N01")
@pytest.mark.parametrize("name", ["sha256", "sha512"])
def test_the_han_certificate_in_both_reported_forms(tmp_path, name):
    """SHA-256 or SHA-512 with explicit NULL; signature and names as another library reads them."""
    from datetime import UTC, datetime

    from asn1crypto import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    module = SecurityModule(tmp_path)
    key = module.generate(HAN_TLS, Curve.P384)
    der = han_certificate(
        "ETHE0300004261",
        key,
        lambda d: module.sign_digest(HAN_TLS, d),
        datetime(2026, 1, 1, tzinfo=UTC),
        name,
    )
    parsed = x509.Certificate.load(der)
    assert parsed["signature_algorithm"]["parameters"].dump() == b"\x05\x00"
    assert list(parsed.subject.native) == [
        "common_name",
        "country_name",
        "organizational_unit_name",
        "organization_name",
    ]
    digest = hashes.SHA256() if name == "sha256" else hashes.SHA512()
    key.verify(parsed["signature_value"].native, parsed["tbs_certificate"].dump(), ec.ECDSA(digest))


def test_unknown_presets_and_profiles_are_named(tmp_path):
    """A typo gets the list of what exists."""
    with pytest.raises(ConfigError, match="han-conexa"):
        server_context("nope", TlsIdentity(b"", lambda d: d, lambda: b""))
    with pytest.raises(ProfileError, match="conexa-3.0/v3.87"):
        load("nope/nope")
    (tmp_path / "zero.toml").write_text('extends = "conexa-3.0/v3.87"\n[leds]\ntls_ms = 0\n')
    with pytest.raises(ProfileError, match="tls_ms"):
        load("zero.toml", tmp_path)
    for name in ("../x", "", "a//b"):
        with pytest.raises(ProfileError):
            load(name)
    for name in available():
        assert load(name).tls.preset in PRESETS


# -- security module -----------------------------------------------------------------------------


def test_the_module_keeps_its_slots(tmp_path):
    """A slot is made once, survives a restart, and refuses what it should."""
    module = SecurityModule(tmp_path / "m")
    public = module.generate("A", Curve.BRAINPOOL_P256)
    with pytest.raises(SecurityModuleError, match="in use"):
        module.generate("A", Curve.P256)
    again = SecurityModule(tmp_path / "m")
    assert again.public_key("A").public_numbers() == public.public_numbers()
    assert len(again.sign_plain("A", b"x")) == 64
    again.check(("A",))
    for slot in ("B", "../x", "a"):
        with pytest.raises(SecurityModuleError):
            again.sign(slot, b"x")
    with pytest.raises(SecurityModuleError, match="digest"):
        again.sign_digest("A", b"short")
    assert (tmp_path / "m" / "A.p8").stat().st_mode & 0o077 == 0
    (tmp_path / "m" / "C.p8").write_bytes(b"junk")
    with pytest.raises(SecurityModuleError, match="damaged"):
        again.sign("C", b"x")
