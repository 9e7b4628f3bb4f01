"""HTTP digest authentication, server side (RFC 2617, RFC 7616), with the field's leniencies.

Nonces carry their time and an HMAC under a secret of this start, so none is stored:
``<8 hex time><16 hex random><32 hex HMAC>``. What a device does where the RFC and the field
differ (algorithm announced and accepted, foreign ``uri``, replayed ``nc``) is profile data
(``han-m2m.md`` 3.1, 3.2).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from smgw_emu.core.config import Consumer
from smgw_emu.core.instants import WorldTime
from smgw_emu.profiles import Digest as DigestProfile

_PARAMETER = re.compile(
    r'([A-Za-z][A-Za-z0-9*_-]{0,30})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.ASCII
)
_NONCE = re.compile(r"[0-9a-f]{56}", re.ASCII)
_NC = re.compile(r"[0-9a-fA-F]{8}", re.ASCII)
_HASHES: Mapping[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}
_ALIASES = {"SHA256": "SHA-256"}  # han-m2m.md 3.1: spelled so by some
_M2M_ROOT = "/smgw/m2m"
_REMEMBERED = 4096  # nonces of which nc or logout is remembered (own choice: bounds memory)


class Verdict(StrEnum):
    """Outcome of checking an Authorization header."""

    ACCEPTED = "accepted"
    NO_CREDENTIALS = "no credentials"
    STALE = "stale nonce"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class DigestResult:
    """Verdict, the consumer if his name was known, and the nonce used."""

    verdict: Verdict
    consumer: Consumer | None = None
    nonce: str = ""


def ha1(login: str, realm: str, password: str, algorithm: str) -> str:
    """Return H(login:realm:password), what is kept instead of a password."""
    return _HASHES[algorithm](f"{login}:{realm}:{password}".encode())


def parse_authorization(header: str) -> dict[str, str] | None:
    """Return the parameters of a Digest Authorization header, None for another scheme."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "digest":
        return None
    return {
        name.lower(): bare or re.sub(r"\\(.)", r"\1", quoted)
        for name, quoted, bare in _PARAMETER.findall(rest)
    }


class DigestAuthenticator:
    """Challenges and checks.

    Args:
        profile: what is announced, accepted and checked.
        realm: lower-case gateway id (Detailspezifikation v2.0 chapter 7).
        consumers: login -> consumer.
        random: source of random octets (the security module).
    """

    def __init__(
        self,
        profile: DigestProfile,
        realm: str,
        consumers: Mapping[str, Consumer],
        random: Callable[[int], bytes],
    ) -> None:
        self.realm = realm
        self._profile = profile
        self._consumers = consumers
        self._random = random
        self._secret = random(32)
        self._opaque = random(16).hex()
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()

    def challenge(self, now: WorldTime, *, stale: bool = False) -> str:
        """Return a WWW-Authenticate value with a fresh nonce."""
        head = f"{now.seconds & 0xFFFFFFFF:08x}{self._random(8).hex()}"
        parts = [
            f'realm="{self.realm}"',
            'qop="auth"',
            f'nonce="{head}{self._seal(head)}"',
            f'opaque="{self._opaque}"',
            f"algorithm={self._profile.challenge}",
        ]
        if stale:
            parts.append("stale=true")
        return "Digest " + ", ".join(parts)

    def check(self, header: str | None, method: str, target: str, now: WorldTime) -> DigestResult:
        """Check an Authorization header against a request."""
        given = parse_authorization(header) if header else None
        if given is None:
            return DigestResult(Verdict.NO_CREDENTIALS)
        consumer = self._consumers.get(given.get("username", ""))
        nonce = given.get("nonce", "")
        refused = DigestResult(Verdict.REFUSED, consumer, nonce)
        if not self._ours(nonce):
            # a nonce of another start or another device: a fresh challenge helps
            return DigestResult(Verdict.STALE, consumer, nonce)
        if consumer is None or not self._response_fits(given, consumer, method, target):
            return refused
        if nonce in self._ended:
            return refused
        if self._expired(nonce, now) or not self._count_rises(nonce, given.get("nc", "")):
            return DigestResult(Verdict.STALE, consumer, nonce)
        return DigestResult(Verdict.ACCEPTED, consumer, nonce)

    def log_out(self, nonce: str) -> None:
        """End what this nonce began: it is refused from now on, without ``stale``."""
        self._ended[nonce] = None
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    # -- steps -----------------------------------------------------------------------------

    def _seal(self, head: str) -> str:
        return hmac.new(self._secret, head.encode(), hashlib.sha256).hexdigest()[:32]

    def _ours(self, nonce: str) -> bool:
        if not _NONCE.fullmatch(nonce):
            return False
        return hmac.compare_digest(nonce[24:], self._seal(nonce[:24]))

    def _expired(self, nonce: str, now: WorldTime) -> bool:
        age = (now.seconds & 0xFFFFFFFF) - int(nonce[:8], 16)
        return not 0 <= age <= self._profile.nonce_life_s

    def _count_rises(self, nonce: str, nc: str) -> bool:
        if not self._profile.check_nc:
            return True
        count = int(nc, 16)
        if count <= self._counts.get(nonce, 0):
            return False
        self._counts[nonce] = count
        if len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)
        return True

    def _response_fits(
        self, given: dict[str, str], consumer: Consumer, method: str, target: str
    ) -> bool:
        algorithm = given.get("algorithm", "MD5").upper()
        algorithm = _ALIASES.get(algorithm, algorithm)
        accepted: tuple[str, ...] = self._profile.accept
        secret = consumer.ha1_md5 if algorithm == "MD5" else consumer.ha1_sha256
        uri, nc = given.get("uri", ""), given.get("nc", "")
        if (
            algorithm not in accepted
            or not secret
            or given.get("realm") != self.realm
            or given.get("qop") != "auth"
            or not _NC.fullmatch(nc)
            or not self._uri_fits(uri, target)
        ):
            return False
        digest = _HASHES[algorithm]
        ha2 = digest(f"{method}:{uri}".encode())
        parts = (secret, given["nonce"], nc, given.get("cnonce", ""), "auth", ha2)
        expected = digest(":".join(parts).encode())
        answer = given.get("response", "").lower()
        return hmac.compare_digest(expected.encode(), answer.encode())

    def _uri_fits(self, uri: str, target: str) -> bool:
        if uri == target:
            return True
        both_below = uri.startswith(_M2M_ROOT) and target.startswith(_M2M_ROOT)
        return both_below and not self._profile.check_uri
