"""Self-signed certificates whose key stays in the security module.

Built with ``asn1crypto`` because the signature comes from outside: ``cryptography``'s builder wants
the private key itself. Everything issued carries the Netscape comment ``TEST - smgw-emu``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

from asn1crypto import algos, core, keys, x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

TEST_COMMENT = "TEST - smgw-emu"
NETSCAPE_COMMENT_OID = "2.16.840.1.113730.1.13"
HAN_LIFETIME_DAYS = 7 * 365  # TR-03109-1 v1.0 Annex C: 7 years of use


def subject_key_identifier(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the SHA-1 of the public point (RFC 5280 4.2.1.2, method 1)."""
    point = public_key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return hashlib.sha1(point, usedforsecurity=False).digest()


def han_certificate(
    gateway_id: str,
    public_key: ec.EllipticCurvePublicKey,
    sign_digest: Callable[[bytes], bytes],
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
    name = x509.Name(
        name="",
        value=x509.RDNSequence(
            [
                _attribute("common_name", "utf8_string", f"{gateway_id}.SMGW"),
                _attribute("country_name", "printable_string", "DE"),
                _attribute("organizational_unit_name", "utf8_string", gateway_id[1:4]),
                _attribute("organization_name", "utf8_string", "SMGW"),
            ]
        ),
    )
    algorithm = algos.SignedDigestAlgorithm(
        {"algorithm": f"{hash_name}_ecdsa", "parameters": core.Null()}
    )
    spki = public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    tbs = x509.TbsCertificate(
        {
            "version": "v3",
            "serial_number": 1,
            "signature": algorithm,
            "issuer": name,
            "validity": x509.Validity(
                {
                    "not_before": _time(not_before),
                    "not_after": _time(not_before + timedelta(days=HAN_LIFETIME_DAYS)),
                }
            ),
            "subject": name,
            "subject_public_key_info": keys.PublicKeyInfo.load(spki),
            "extensions": [_test_mark()],
        }
    )
    certificate = x509.Certificate(
        {
            "tbs_certificate": tbs,
            "signature_algorithm": algorithm,
            "signature_value": sign_digest(hashlib.new(hash_name, tbs.dump()).digest()),
        }
    )
    return bytes(certificate.dump())


def _attribute(kind: str, form: str, value: str) -> x509.RelativeDistinguishedName:
    choice = x509.DirectoryString(name=form, value=value)
    content = core.PrintableString(value) if kind == "country_name" else choice
    pair = x509.NameTypeAndValue({"type": kind, "value": content})
    return x509.RelativeDistinguishedName([pair])


def _time(moment: datetime) -> x509.Time:
    return x509.Time(name="utc_time", value=x509.UTCTime(moment))


def _test_mark() -> x509.Extension:
    comment = core.IA5String(TEST_COMMENT).dump()
    return x509.Extension(
        {
            "extn_id": NETSCAPE_COMMENT_OID,
            "critical": False,
            "extn_value": core.ParsableOctetString(comment),
        }
    )
