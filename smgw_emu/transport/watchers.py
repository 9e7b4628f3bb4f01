"""Who looks at a plaintext handshake: the device's clock, a judge, a gate, the security module.

Alerts are RFC 5246 7.2's numbers; the connection replaces those its profile does not know.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from hsm_sim import Curve, SecurityModuleError
from hsm_sim.certificates import read_certificate
from hsm_sim.curves import CURVE_OIDS, public_key
from hsm_sim.interface import KeyModule
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.transport import _ephemeral
from smgw_emu.transport._libssl import LibsslError
from smgw_emu.transport.handshake import (
    CERTIFICATE,
    CLIENT_HELLO,
    GROUP_NAMES,
    SERVER_HELLO,
    SERVER_KEY_EXCHANGE,
    ClientHello,
    parse_certificates,
    parse_client_hello,
    parse_server_key_exchange,
)
from smgw_emu.transport.tls import Watcher

_log = structlog.get_logger("tls")

ILLEGAL_PARAMETER, BAD_CERTIFICATE, CERTIFICATE_EXPIRED = 47, 42, 45
DECRYPT_ERROR, INTERNAL_ERROR = 51, 80


class Watchers(Watcher):
    """Several watchers; the first refusal counts."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def message(self, kind: int, body: bytes, *, ours: bool) -> int | None:
        """Show the message to each."""
        for watcher in self._watchers:
            alert = watcher.message(kind, body, ours=ours)
            if alert is not None:
                return alert
        return None

    def step(self) -> contextlib.AbstractContextManager[Any]:
        """Enter the context of each."""
        stack = contextlib.ExitStack()
        for watcher in self._watchers:
            stack.enter_context(watcher.step())
        return stack


class ValidityWatcher(Watcher):
    """Checks the peer's validity period against the device clock.

    Args:
        device_time: the device's time, None while it is not valid: then the check is left out, as
            TR-03109-1 v1.0 3.2.6.3.4 allows.
    """

    def __init__(self, device_time: Callable[[], datetime | None]) -> None:
        self._device_time = device_time

    def message(self, kind: int, body: bytes, *, ours: bool) -> int | None:
        """Refuse an expired or not yet valid leaf."""
        if ours or kind != CERTIFICATE:
            return None
        now, chain = self._device_time(), parse_certificates(body)
        if now is None or not chain:
            return None
        try:
            leaf = read_certificate(chain[0])
        except RemoteProtocolError:
            return BAD_CERTIFICATE
        good = leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc
        return None if good else CERTIFICATE_EXPIRED


class PeerJudge(Watcher):
    """Refuses peers whose certificate is not wanted.

    Args:
        judge: leaf in DER -> "" if it is good, else why not.
    """

    def __init__(self, judge: Callable[[bytes], str]) -> None:
        self._judge = judge
        self.reason = ""

    def message(self, kind: int, body: bytes, *, ours: bool) -> int | None:
        """Look at the peer's Certificate message; one without a certificate is refused too."""
        if ours or kind != CERTIFICATE:
            return None
        try:
            chain = parse_certificates(body)
        except RemoteProtocolError:
            return BAD_CERTIFICATE
        self.reason = self._judge(chain[0]) if chain else "no certificate"
        return BAD_CERTIFICATE if self.reason else None


class HelloGate(Watcher):
    """Refuses ClientHellos by a rule, as quirks of real devices do.

    Args:
        rule: offer -> alert number, None to let it pass.
    """

    def __init__(self, rule: Callable[[ClientHello], int | None]) -> None:
        self._rule = rule

    def message(self, kind: int, body: bytes, *, ours: bool) -> int | None:
        """Ask the rule."""
        if ours or kind != CLIENT_HELLO:
            return None
        return self._rule(parse_client_hello(body))


def watcher_of(module: KeyModule, peer: str) -> ModuleWatcher | None:
    """Return the watcher of a new client handshake: one in strict mode, none otherwise."""
    return ModuleWatcher(module, peer) if module.strict else None


class ModuleWatcher(Watcher):
    """The security module's part of figures F28 and F29 for a TLS client, in strict mode.

    The module draws random A of the ClientHello, runs the ECKA with the server's ephemeral point on
    a pair of its own and verifies the server's signature; CertificateVerify goes through it anyway.
    libssl uses the module's numbers (:mod:`smgw_emu.transport._ephemeral`). Where that does not
    work the commands run beside libssl's own handshake, which is logged once and told by
    ``inside``. The verification counts: if the module says no, the handshake ends.

    Args:
        module: the security module.
        peer: name of the imported public key the server must sign with.
    """

    def __init__(self, module: KeyModule, peer: str) -> None:
        self._module = module
        self._peer = peer
        self._randoms = [b"", b""]
        self._pair: _ephemeral.Pair | None = None
        self.inside = _ephemeral_in_module()
        self._first = module.random(32)
        self._asked = False

    def step(self) -> contextlib.AbstractContextManager[Any]:
        """Give libssl the module's numbers."""
        if not self.inside:
            return contextlib.nullcontext()
        random = None if self._asked else self._random
        self._asked = True
        return _ephemeral.handshake_step(self._pair, random)

    def _random(self, count: int) -> bytes:
        """Return random A first, more from the module if libssl wants more."""
        first, self._first = self._first[:count], self._first[count:]
        return first + self._module.random(count - len(first)) if len(first) < count else first

    def message(self, kind: int, body: bytes, *, ours: bool) -> int | None:
        """Follow the handshake."""
        if kind == CLIENT_HELLO and ours:
            self._randoms[0] = body[2:34]
        elif kind == SERVER_HELLO and not ours:
            self._randoms[1] = body[2:34]
        elif kind == SERVER_KEY_EXCHANGE and not ours:
            return self._key_exchange(body)
        return None

    def _key_exchange(self, body: bytes) -> int | None:
        exchange = parse_server_key_exchange(body)
        try:
            curve = Curve(GROUP_NAMES.get(exchange.group, ""))
            peer: ec.EllipticCurvePublicKey = public_key(curve, exchange.point)
        except (ValueError, RemoteProtocolError):
            return ILLEGAL_PARAMETER
        signed = b"".join(self._randoms) + exchange.parameters
        digest = hashlib.new(exchange.hash_name, signed).digest()
        try:
            point, shared = self._module.agree_ephemeral(peer)
            right = self._module.verify(self._peer, digest, exchange.signature)
        except SecurityModuleError:
            return INTERNAL_ERROR
        self._pair = _ephemeral.Pair(CURVE_OIDS[curve], point, shared)
        return None if right else DECRYPT_ERROR


@lru_cache
def _ephemeral_in_module() -> bool:
    """Install the hooks of libcrypto; tell whether that worked."""
    try:
        _ephemeral.install()
    except LibsslError as error:
        _log.warning("strict mode: TLS uses ephemeral pairs of libssl's own", cause=str(error))
        return False
    return True
