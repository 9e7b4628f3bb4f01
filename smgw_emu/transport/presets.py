"""TLS presets as data (crypto.md 1.2, 5.3) and the contexts built from them."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from smgw_emu.core.errors import ConfigError
from smgw_emu.transport import _libssl

# GCM first: browsers speak only GCM, and TR-03116-3 demands both (crypto.md 5.1).
_ALL_SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384"
)
_ECDSA_ONLY = "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512"  # TR-03116-3 table 9


@dataclass(frozen=True, slots=True)
class TlsPreset:
    """TLS 1.2 settings of one interface; lists in OpenSSL spelling, in wire order."""

    name: str
    suites: str
    groups: str
    signature_algorithms: str


PRESETS = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            # IF_GW_CON: "Alle anderen Kurvenformen werden nicht unterstuetzt"
            TlsPreset("han-conexa", _ALL_SUITES, "P-384", _ECDSA_ONLY),
            # TR-03116-3 (2025) 5.2: all five, higher key length first (DS2 Handshake.60)
            TlsPreset(
                "han-tr2025",
                _ALL_SUITES,
                "brainpoolP512r1:brainpoolP384r1:P-384:brainpoolP256r1:P-256",
                _ECDSA_ONLY,
            ),
        )
    }
)


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """The server's certificate and the security module's signing function.

    Attributes:
        certificate: leaf, DER.
        sign: digest -> DER signature; the key stays where it is.
        private_key: called only if the key bridge does not work here; returns PEM.
    """

    certificate: bytes
    sign: Callable[[bytes], bytes]
    private_key: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class ServerContext:
    """A ready context; ``key_in_module`` tells whether the TLS key stayed in the module."""

    context: ssl.SSLContext
    key_in_module: bool


def server_context(
    preset_name: str, identity: ServerIdentity, *, keylog: str | None = None
) -> ServerContext:
    """Build the HAN server's context: client certificate asked for, any accepted.

    Raises:
        ConfigError: no such preset.
        LibsslError: libssl cannot be configured on this platform.
    """
    preset = PRESETS.get(preset_name)
    if preset is None:
        raise ConfigError(f"no TLS preset {preset_name!r}; there are: {', '.join(PRESETS)}")
    _libssl.check()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(preset.suites)
    context.options |= (
        ssl.OP_NO_RENEGOTIATION
        | ssl.OP_NO_TICKET
        | ssl.OP_NO_COMPRESSION
        | ssl.OP_CIPHER_SERVER_PREFERENCE
    )
    _libssl.set_groups(context, preset.groups)
    _libssl.set_signature_algorithms(context, preset.signature_algorithms)
    if keylog:
        context.keylog_filename = keylog
    in_module = _install_key(context, identity)
    context.verify_mode = ssl.CERT_OPTIONAL
    _libssl.accept_any_client_certificate(context)
    _libssl.disable_session_cache(context)
    return ServerContext(context, in_module)


def _install_key(context: ssl.SSLContext, identity: ServerIdentity) -> bool:
    pem = ssl.DER_cert_to_PEM_cert(identity.certificate).encode()
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
