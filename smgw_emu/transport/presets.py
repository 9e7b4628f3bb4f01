"""TLS presets as data (crypto.md 1, 5.3) and the contexts built from them."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from hsm_sim.interface import KeyModule
from smgw_emu.core.errors import ConfigError
from smgw_emu.transport import _libssl

# GCM first: browsers speak only GCM, and TR-03116-3 demands both (crypto.md 5.1).
_ALL_SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384"
)
# higher key length first (DS2 Handshake.60)
_ALL_GROUPS = "brainpoolP512r1:brainpoolP384r1:P-384:brainpoolP256r1:P-256"
_ECDSA_ONLY = "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512"  # TR-03116-3 table 9
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: the device's clock decides, not the host's


@dataclass(frozen=True, slots=True)
class TlsPreset:
    """TLS 1.2 settings of one interface; lists in OpenSSL spelling, in wire order.

    Attributes:
        name: how profiles call it.
        interface: WAN, HAN or LMN.
        suites: cipher suites.
        groups: curves, of ephemeral keys and of certificates.
        signature_algorithms: of the handshake.
        source: where the lists come from.
    """

    name: str
    interface: str
    suites: str
    groups: str
    signature_algorithms: str
    source: str


PRESETS = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            TlsPreset(
                "wan",
                "WAN",
                _ALL_SUITES,
                _ALL_GROUPS,
                _ECDSA_ONLY,
                "TR-03116-3 (2025) 4.2: must and should lists, nothing else",
            ),
            TlsPreset(
                "lmn",
                "LMN",
                _ALL_SUITES,
                _ALL_GROUPS,
                _ECDSA_ONLY,
                "TR-03116-3 (2025) 6.2: as in the WAN",
            ),
            TlsPreset(
                "han-conexa",
                "HAN",
                _ALL_SUITES,
                "P-384",
                _ECDSA_ONLY,
                'IF_GW_CON A-1.2: "Alle anderen Kurvenformen werden nicht unterstuetzt"',
            ),
            TlsPreset(
                "han-tr2025",
                "HAN",
                _ALL_SUITES,
                _ALL_GROUPS,
                _ECDSA_ONLY,
                "TR-03116-3 (2025) 5.2: all four suites, all five curves",
            ),
        )
    }
)


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """An end's certificate and the security module's signing function.

    Attributes:
        certificate: leaf, DER.
        sign: digest -> DER signature; the key stays where it is.
        private_key: called only if the key bridge does not work here; returns PEM.
        chain: certificates sent after the leaf, DER.
    """

    certificate: bytes
    sign: Callable[[bytes], bytes]
    private_key: Callable[[], bytes]
    chain: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsContext:
    """A ready context; ``key_in_module`` tells whether the TLS key stayed in the module."""

    context: ssl.SSLContext
    key_in_module: bool


def module_identity(
    module: KeyModule, slot: str, certificate: bytes, chain: tuple[bytes, ...] = ()
) -> TlsIdentity:
    """Return an identity whose key stays in a slot of the security module."""
    return TlsIdentity(
        certificate,
        lambda digest: module.sign_digest(slot, digest),
        lambda: module.private_key_for_process(slot),
        chain,
    )


def preset(name: str) -> TlsPreset:
    """Return a preset.

    Raises:
        ConfigError: no such preset.
    """
    found = PRESETS.get(name)
    if found is None:
        raise ConfigError(f"no TLS preset {name!r}; there are: {', '.join(PRESETS)}")
    return found


def server_context(
    preset_name: str,
    identity: TlsIdentity,
    *,
    peers: Sequence[bytes] | None = None,
    keylog: str = "",
) -> TlsContext:
    """Build a server's context.

    Args:
        preset_name: one of :data:`PRESETS`.
        identity: the server's own.
        peers: the only client certificates allowed, DER, one of them required; None: any
            certificate, or none, is let in and judged later (HAN).
        keylog: file for the secrets of captures.

    Raises:
        ConfigError: no such preset.
        LibsslError: libssl cannot be configured on this platform.
    """
    context = _base(ssl.PROTOCOL_TLS_SERVER, preset(preset_name), keylog)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    in_module = _install_key(context, identity)
    if peers is None:
        context.verify_mode = ssl.CERT_OPTIONAL
        _libssl.accept_any_certificate(context)
    else:
        _pin(context, peers)
    _libssl.disable_session_cache(context)
    return TlsContext(context, in_module)


def client_context(
    preset_name: str,
    identity: TlsIdentity | None,
    peers: Sequence[bytes] | None,
    *,
    keylog: str = "",
    fragment_code: int = 0,
) -> TlsContext:
    """Build a client's context; the server must show one of ``peers`` (DS2 Handshake.160/.170).

    Validity periods are not checked here, because libssl would ask the host's clock:
    :class:`smgw_emu.transport.tls.TlsConnection` asks the device's.

    Args:
        preset_name: one of :data:`PRESETS`.
        identity: the client's own, None for a client without certificate.
        peers: configured end-entity certificates of the server, DER; None: a watcher judges it.
        keylog: file for the secrets of captures.
        fragment_code: of the extension max_fragment_length, 0: not sent.

    Raises:
        ConfigError: no such preset, or no peer configured.
        LibsslError: libssl cannot be configured on this platform.
    """
    context = _base(ssl.PROTOCOL_TLS_CLIENT, preset(preset_name), keylog)
    context.check_hostname = False  # the certificate itself is configured, not a name
    if peers is None:
        _libssl.accept_any_certificate(context)
    else:
        _pin(context, peers)
    in_module = _install_key(context, identity) if identity is not None else True
    if fragment_code:
        _libssl.limit_fragments(context, fragment_code)
    return TlsContext(context, in_module)


def _base(protocol: int, settings: TlsPreset, keylog: str) -> ssl.SSLContext:
    _libssl.check()
    context = ssl.SSLContext(protocol)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(settings.suites)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    _libssl.set_groups(context, settings.groups)
    _libssl.set_signature_algorithms(context, settings.signature_algorithms)
    if keylog:
        context.keylog_filename = keylog
    return context


def _pin(context: ssl.SSLContext, peers: Sequence[bytes]) -> None:
    """Make the given certificates, and nothing they issued, the only ones accepted."""
    if not peers:
        raise ConfigError("no peer certificate is configured")
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cadata=b"".join(peers))
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"a configured peer certificate cannot be read: {error}") from error
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)


def _install_key(context: ssl.SSLContext, identity: TlsIdentity) -> bool:
    pem = "".join(
        ssl.DER_cert_to_PEM_cert(item) for item in (identity.certificate, *identity.chain)
    ).encode()
    with tempfile.TemporaryDirectory(prefix="smgw-") as folder:
        chain = os.path.join(folder, "chain.pem")  # noqa: PTH118  # handed to C
        _write_private(chain, pem)
        try:
            _libssl.use_external_key(context, chain, identity.certificate, identity.sign)
        except _libssl.LibsslError:
            both = os.path.join(folder, "both.pem")  # noqa: PTH118
            _write_private(both, identity.private_key() + pem)
            context.load_cert_chain(both)
            return False
    return True


def _write_private(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
