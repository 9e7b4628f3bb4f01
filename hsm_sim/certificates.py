"""Certificates: reading anybody's, writing self-signed ones whose key stays in the module.

Written with our own DER writer because the signature comes from outside: ``cryptography``'s builder
wants the private key itself. Everything issued carries the Netscape comment ``TEST - smgw-emu``,
but for the LMN form, which may carry no extension beside SubjectAltName.
"""

from __future__ import annotations

import hashlib
import secrets
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning

from hsm_sim.curves import point_octets
from smgw_emu.core import der
from smgw_emu.core.errors import RemoteProtocolError

TEST_COMMENT = "TEST - smgw-emu"
NETSCAPE_COMMENT_OID = "2.16.840.1.113730.1.13"
LIFETIME_DAYS = 7 * 365  # TR-03109-1 v1.0 Annex B and C: 7 years of use

ECDSA_WITH = {
    "sha256": "1.2.840.10045.4.3.2",
    "sha384": "1.2.840.10045.4.3.3",
    "sha512": "1.2.840.10045.4.3.4",
}
_COMMON_NAME, _COUNTRY, _ORGANISATION, _UNIT = "2.5.4.3", "2.5.4.6", "2.5.4.10", "2.5.4.11"
_SUBJECT_ALT_NAME, _KEY_USAGE, _BASIC_CONSTRAINTS = "2.5.29.17", "2.5.29.15", "2.5.29.19"
_EXTENDED_KEY_USAGE = "2.5.29.37"
_SERVER_AUTH, _CLIENT_AUTH = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"
_DNS_NAME = 0x82
# Annex B writes only "<BSI-OID>"; the arc below BSI's smart-meter tree is our choice [I]
DEVICE_ID_OID = "0.4.0.127.0.7.3.4.9.1"

SignDigest = Callable[[bytes], bytes]
"""digest -> DER ECDSA signature."""


_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,
    der.DerError,
)


@lru_cache(maxsize=256)
def read_certificate(data: bytes) -> x509.Certificate:
    """Read a certificate of anybody, DER or PEM, whole.

    ``cryptography`` reads some fields lazily, warns of some faults and ignores the unused bits of
    the signature; here all of them refuse.

    Raises:
        RemoteProtocolError: malformed.
    """
    try:
        pem = data.lstrip().startswith(b"-----")
        reader = x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate
        with warnings.catch_warnings():
            warnings.simplefilter("error", CryptographyDeprecationWarning)
            certificate = reader(data)
            tuple(certificate.extensions)
            certificate.public_key()
            for name in (certificate.subject, certificate.issuer):
                name.rfc4514_string()
        if certificate.not_valid_before_utc > certificate.not_valid_after_utc:
            raise ValueError("validity ends before it begins")
        octets = certificate.public_bytes(serialization.Encoding.DER)
        fields = der.Reader(der.parse(octets), "Certificate")
        fields.take(der.SEQUENCE, "tbsCertificate")
        fields.take(der.SEQUENCE, "signatureAlgorithm")
        fields.take(der.BIT_STRING, "signature").bits()
    except _UNREADABLE as error:
        raise RemoteProtocolError("the certificate cannot be read") from error
    return certificate


def subject_key_identifier(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the SHA-1 of the public point (RFC 5280 4.2.1.2, method 1)."""
    return hashlib.sha1(point_octets(public_key), usedforsecurity=False).digest()


def spki(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the SubjectPublicKeyInfo in DER."""
    return public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def name_attribute(kind: str, value: str, tag: int = der.UTF8_STRING) -> bytes:
    """Return a RelativeDistinguishedName with one attribute."""
    return der.set_of(der.sequence(der.oid(kind), der.text(value, tag)))


def extension(kind: str, value: bytes, *, critical: bool = False) -> bytes:
    """Return an Extension around an encoded value."""
    flag = b"\x01\x01\xff" if critical else b""
    return der.sequence(der.oid(kind), flag, der.octet_string(value))


def mark_extension() -> bytes:
    """Return the extension that marks a certificate as TEST."""
    return extension(NETSCAPE_COMMENT_OID, der.text(TEST_COMMENT, der.IA5_STRING))


def _self_signed(
    serial: int,
    name: bytes,
    public_key: ec.EllipticCurvePublicKey,
    extensions: bytes,
    sign_digest: SignDigest,
    not_before: datetime,
    hash_name: str,
    parameters: bytes = b"",
) -> bytes:
    algorithm = der.algorithm(ECDSA_WITH[hash_name], parameters)
    not_after = not_before + timedelta(days=LIFETIME_DAYS)
    tbs = der.sequence(
        der.explicit(0, der.integer(2)),
        der.integer(serial),
        algorithm,
        name,
        der.sequence(der.time(not_before), der.time(not_after)),
        name,
        spki(public_key),
        der.explicit(3, der.sequence(extensions)),
    )
    signature = sign_digest(hashlib.new(hash_name, tbs).digest())
    return der.sequence(tbs, algorithm, der.bit_string(signature))


def han_certificate(
    gateway_id: str,
    public_key: ec.EllipticCurvePublicKey,
    sign_digest: SignDigest,
    not_before: datetime,
    hash_name: str = "sha256",
) -> bytes:
    """Return the self-signed HAN certificate of a gateway in DER.

    Form of field devices (``han-m2m.md`` 2.3, HSM-N01): serial 1, issuer = subject = CN
    ``<ID>.SMGW``, C ``DE``, OU ``THE``, O ``SMGW``, in this order, C as PrintableString, the rest
    UTF8String; ecdsa-with-SHA256 with an explicit NULL parameter. Another dump shows SHA-512
    (HSM-N01), so the hash is an argument.

    Args:
        gateway_id: upper-case device id.
        public_key: the HAN TLS key.
        sign_digest: digest -> DER ECDSA signature.
        not_before: start of validity.
        hash_name: ``sha256``, ``sha384`` or ``sha512``.
    """
    name = der.sequence(
        name_attribute(_COMMON_NAME, f"{gateway_id}.SMGW"),
        name_attribute(_COUNTRY, "DE", der.PRINTABLE_STRING),
        name_attribute(_UNIT, gateway_id[1:4]),
        name_attribute(_ORGANISATION, "SMGW"),
    )
    return _self_signed(
        1, name, public_key, mark_extension(), sign_digest, not_before, hash_name, der.NULL_VALUE
    )


def lmn_certificate(
    device_id: bytes,
    public_key: ec.EllipticCurvePublicKey,
    sign_digest: SignDigest,
    not_before: datetime,
    common_name: str = "",
) -> bytes:
    """Return a self-signed LMN certificate in DER.

    Without ``common_name`` the form of TR-03109-1 v1.0 Annex B: empty names, serial of at most 8
    octets, SubjectAltName otherName with the id, no further extension. With it the form of the
    Detailspezifikation v2.0 chapter 3: CN ``<id>.sm``, serial of 16 octets, KeyUsage critical,
    ExtendedKeyUsage for both roles, SubjectAltName dNSName.

    Args:
        device_id: nine octets, coded like the wake-up's RecipientId.
        public_key: the LMN TLS key.
        sign_digest: digest -> DER ECDSA signature.
        not_before: start of validity.
        common_name: ``<id>.sm`` in lower case.
    """
    if common_name:
        name = der.sequence(name_attribute(_COMMON_NAME, common_name))
        uses = der.sequence(der.oid(_SERVER_AUTH), der.oid(_CLIENT_AUTH))
        host = der.sequence(der.tlv(_DNS_NAME, common_name.encode("ascii")))
        extensions = (
            extension(_KEY_USAGE, der.bit_string(b"\x80", 7), critical=True)
            + extension(_BASIC_CONSTRAINTS, der.sequence(), critical=True)
            + extension(_EXTENDED_KEY_USAGE, uses)
            + extension(_SUBJECT_ALT_NAME, host)
        )
    else:
        name = der.sequence()
        other = der.explicit(
            0, der.oid(DEVICE_ID_OID), der.explicit(0, der.octet_string(device_id))
        )
        # with an empty subject the extension is critical (RFC 5280 4.2.1.6)
        extensions = extension(_SUBJECT_ALT_NAME, der.sequence(other), critical=True)
    serial = int.from_bytes(secrets.token_bytes(16 if common_name else 8), "big") >> 1 | 1
    return _self_signed(serial, name, public_key, extensions, sign_digest, not_before, "sha256")
