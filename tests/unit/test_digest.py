"""Digest authentication against Python's own and requests' clients, and the field's leniencies."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from fuzz import fuzz
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from han.digest import DigestAuthenticator, Verdict, ha1, parse_authorization
from smgw_emu.core.config import Consumer
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.profiles import Digest, load

REALM = "ethe0300004261"
PASSWORD = "pass word"
CONSUMER = Consumer(
    "anna", "anna.sm", ha1("anna", REALM, PASSWORD, "MD5"), ha1("anna", REALM, PASSWORD, "SHA-256")
)
NOW = WorldTime(1_800_000_000 * SECOND)
PROFILE: Digest = load().digest
ROOT = "/smgw/m2m"


def make(**changes) -> DigestAuthenticator:
    profile = msgspec.structs.replace(PROFILE, **changes)
    return DigestAuthenticator(profile, REALM, {"anna": CONSUMER}, lambda n: b"\x07" * n)


def answer(
    challenge: str,
    *,
    method="GET",
    uri=ROOT,
    user="anna",
    password=PASSWORD,
    nc=1,
    algorithm="MD5",
    **changes,
) -> str:
    """A client's header, written from RFC 2617 alone."""
    given = parse_authorization(challenge)
    digest = hashlib.md5 if algorithm == "MD5" else hashlib.sha256

    def h(text: str) -> str:
        return digest(text.encode()).hexdigest()

    fields = {
        "username": user,
        "realm": given["realm"],
        "nonce": given["nonce"],
        "uri": uri,
        "qop": "auth",
        "nc": f"{nc:08x}",
        "cnonce": "1234567",
        "opaque": given["opaque"],
        "algorithm": algorithm,
    } | changes
    a1 = h(f"{fields['username']}:{fields['realm']}:{password}")
    a2 = h(f"{method}:{fields['uri']}")
    fields.setdefault(
        "response",
        h(f"{a1}:{fields['nonce']}:{fields['nc']}:{fields['cnonce']}:{fields['qop']}:{a2}"),
    )
    return "Digest " + ", ".join(f'{k}="{v}"' for k, v in fields.items())


def verdict(machine, header, method="GET", target=ROOT, now=NOW) -> Verdict:
    return machine.check(header, method, target, now).verdict


def test_rfc_2617_example():
    """The RFC's own Mufasa example gives its published response."""
    secret = ha1("Mufasa", "testrealm@host.com", "Circle Of Life", "MD5")
    assert secret == "939e7578ed9e3c518a452acee763bce9"


@pytest.mark.req("HAN-12")
def test_the_challenge_has_what_the_official_client_needs():
    """realm, nonce, qop and opaque are mandatory for it; realm is the lower-case id."""
    given = parse_authorization(make().challenge(NOW))
    assert given["realm"] == REALM
    assert given["qop"] == "auth"
    assert given["opaque"] and given["nonce"]
    assert given["algorithm"] == "MD5"


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_both_algorithms_are_accepted_by_default(algorithm):
    """han-m2m.md 3.2: announce MD5, accept both."""
    machine = make()
    header = answer(machine.challenge(NOW), algorithm=algorithm)
    assert verdict(machine, header) is Verdict.ACCEPTED


@pytest.mark.req("HAN-N07")
def test_quirk_announce_sha256_accept_md5_only():
    """The field's v3.87: SHA-256 is announced but only MD5 works (C06)."""
    machine = make(challenge="SHA-256", accept=("MD5",))
    challenge = machine.challenge(NOW)
    assert "algorithm=SHA-256" in challenge
    assert verdict(machine, answer(challenge, algorithm="SHA-256")) is Verdict.REFUSED
    assert verdict(machine, answer(challenge, algorithm="MD5")) is Verdict.ACCEPTED


def test_unquoted_and_differently_spelled_parameters_are_read():
    """TRuDI sends qop and nc bare; SHA256 without hyphen is an alias."""
    machine = make()
    header = answer(machine.challenge(NOW), algorithm="SHA-256")
    header = header.replace('qop="auth"', "qop=auth").replace('nc="00000001"', "nc=00000001")
    assert verdict(machine, header.replace('"SHA-256"', "SHA256")) is Verdict.ACCEPTED


def test_a_redirected_client_may_send_the_old_uri_and_counter():
    """Httpx repeats its header after the 307; the default profile lets it in, a strict one not."""
    header_for = f"{ROOT}/anna.sm/json"
    lenient, strict = make(), make(check_uri=True, check_nc=True)
    for machine, second in ((lenient, Verdict.ACCEPTED), (strict, Verdict.REFUSED)):
        header = answer(machine.challenge(NOW), method="POST", uri=f"{ROOT}/")
        assert verdict(machine, header, "POST", f"{ROOT}/") is Verdict.ACCEPTED
        assert verdict(machine, header, "POST", header_for) is second
    web = answer(lenient.challenge(NOW), uri=f"{ROOT}/")
    assert verdict(lenient, web, "GET", "/smgw/cust/anna.sm/start") is Verdict.REFUSED


def test_a_replayed_counter_is_stale_in_a_strict_profile():
    """Nc must rise per nonce where the profile checks it."""
    machine = make(check_nc=True)
    challenge = machine.challenge(NOW)
    assert verdict(machine, answer(challenge, nc=2)) is Verdict.ACCEPTED
    assert verdict(machine, answer(challenge, nc=2)) is Verdict.STALE
    assert verdict(machine, answer(challenge, nc=3)) is Verdict.ACCEPTED


def test_an_old_nonce_is_stale_a_foreign_one_too():
    """300 s of life; a nonce of another start only asks for a new one."""
    machine = make()
    header = answer(machine.challenge(NOW))
    assert verdict(machine, header, now=NOW + 300 * SECOND) is Verdict.ACCEPTED
    assert verdict(machine, header, now=NOW + 301 * SECOND) is Verdict.STALE
    other = DigestAuthenticator(PROFILE, REALM, {"anna": CONSUMER}, lambda n: b"\x08" * n)
    assert verdict(machine, answer(other.challenge(NOW))) is Verdict.STALE


@pytest.mark.parametrize(
    "changes",
    [
        {"password": "wrong"},
        {"user": "bert"},
        {"realm": "x"},
        {"qop": "auth-int"},
        {"nc": 0x1FFFFFFFF},
        {"response": "00"},
        {"response": "é" * 32},
        {"algorithm": "MD5", "username": ""},
        {"uri": "/etc/passwd"},
    ],
)
def test_wrong_credentials_are_refused(changes):
    """Password, user, realm, qop, counter, response, uri: each alone is enough."""
    machine = make()
    header = answer(machine.challenge(NOW), **changes)
    assert verdict(machine, header) is Verdict.REFUSED


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", "Digest", "Bearer x"])
def test_no_digest_is_no_credentials_or_a_challenge(header):
    """Nothing usable leads to a challenge, never to an error."""
    assert verdict(make(), header) in {Verdict.NO_CREDENTIALS, Verdict.STALE}


_GOOD = answer(make().challenge(NOW)).encode()


@fuzz(_GOOD)
def test_arbitrary_headers_never_get_in(data):
    """10 000 mutations: a verdict each time; accepted only if the response is really right."""
    header = data.decode("latin-1")
    result = make().check(header, "GET", ROOT, NOW)
    if result.verdict is Verdict.ACCEPTED:
        given = parse_authorization(header)
        good = parse_authorization(_GOOD.decode())
        assert given["response"].lower() == good["response"]


class SessionMachine(RuleBasedStateMachine):
    """Nonces over time, logout included: accepted exactly while alive and not logged out."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.machine = DigestAuthenticator(PROFILE, REALM, {"anna": CONSUMER}, self._random)
        self.now = NOW
        self.nonces: list[tuple[str, WorldTime]] = []
        self.ended: set[str] = set()

    def _random(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")

    @rule(seconds=st.integers(0, 400))
    def wait(self, seconds):
        self.now = self.now + seconds * SECOND

    @rule()
    def challenge(self):
        self.nonces.append((self.machine.challenge(self.now), self.now))

    @rule(pick=st.integers(0, 99), good=st.booleans())
    def use(self, pick, good):
        if not self.nonces:
            return
        challenge, made = self.nonces[pick % len(self.nonces)]
        header = answer(challenge, password=PASSWORD if good else "no")
        found = verdict(self.machine, header, now=self.now)
        nonce = parse_authorization(challenge)["nonce"]
        alive = self.now - made <= 300 * SECOND
        if not good or nonce in self.ended:
            assert found is Verdict.REFUSED
        else:
            assert found is (Verdict.ACCEPTED if alive else Verdict.STALE)

    @rule(pick=st.integers(0, 99))
    def log_out(self, pick):
        if self.nonces:
            nonce = parse_authorization(self.nonces[pick % len(self.nonces)][0])["nonce"]
            self.machine.log_out(nonce)
            self.ended.add(nonce)


TestSessions = SessionMachine.TestCase
