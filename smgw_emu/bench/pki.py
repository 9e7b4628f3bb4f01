"""A small test SM-PKI, in the spirit of trustme: Root, Sub-CA, signature certificate of a gateway.

Names and extensions follow the SM-PKI profile as far as it is known (crypto.md 2.1). Everything is
issued below ``SM-Test-PKI-DE`` and carries the Netscape comment ``TEST - smgw-emu``.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from hsm_sim.certificates import NETSCAPE_COMMENT_OID, TEST_COMMENT

_ORGANISATION = "SM-Test-PKI-DE"
_POLICY = ObjectIdentifier("0.4.0.127.0.7.3.4.1.1.1")  # Sub-CA policy seen in the field
_GATEWAY_YEARS = 2  # Detailspezifikation v2.0 4.2
_SUB_CA_YEARS = 5
_ROOT_YEARS = 8


def _name(common_name: str, *, serial: str = "1") -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, serial),
        ]
    )


def der(certificate: x509.Certificate) -> bytes:
    """Return a certificate in DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


@dataclass(frozen=True, slots=True)
class ConsumerKey:
    """A consumer's HAN certificate (DER) and his PKCS#12 file."""

    certificate: bytes
    pkcs12: bytes


class TestPki:
    """Root and Sub-CA with keys in memory.

    Args:
        now: start of validity; default: the present.
    """

    __test__ = False  # not a pytest class

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now if now is not None else datetime.now(UTC)
        self._root_key = ec.generate_private_key(ec.BrainpoolP384R1())
        self._sub_key = ec.generate_private_key(ec.BrainpoolP256R1())
        root = _name("TEST-SM-Root.CA")
        self.root = self._issue(
            root, root, self._root_key.public_key(), self._root_key, _ROOT_YEARS, path_length=1
        )
        self.sub_ca = self._issue(
            _name("TEST-Sub.CA"),
            root,
            self._sub_key.public_key(),
            self._root_key,
            _SUB_CA_YEARS,
            path_length=0,
        )

    def issue_signature_certificate(
        self, gateway_id: str, public_key: ec.EllipticCurvePublicKey
    ) -> x509.Certificate:
        """Issue the SIG certificate of a gateway (Guetesiegel generation)."""
        return self._issue(
            _name(f"{gateway_id}.SMGW"),
            self.sub_ca.subject,
            public_key,
            self._sub_key,
            _GATEWAY_YEARS,
        )

    def _issue(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        public_key: ec.EllipticCurvePublicKey,
        signer: ec.EllipticCurvePrivateKey,
        years: int,
        path_length: int | None = None,
    ) -> x509.Certificate:
        is_ca = path_length is not None
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        crl = x509.UniformResourceIdentifier("ldap://test.invalid/TEST-Sub.CA.crl")
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(int.from_bytes(secrets.token_bytes(16), "big") >> 1)
            .not_valid_before(self._now)
            .not_valid_after(self._now + timedelta(days=365 * years))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(issuer_id, critical=False)
            .add_extension(x509.BasicConstraints(is_ca, path_length), critical=True)
            .add_extension(_key_usage(is_ca=is_ca), critical=True)
            .add_extension(
                x509.CertificatePolicies([x509.PolicyInformation(_POLICY, None)]), critical=False
            )
            .add_extension(
                x509.IssuerAlternativeName(
                    [x509.UniformResourceIdentifier("https://test.invalid/sub-ca")]
                ),
                critical=False,
            )
            .add_extension(
                x509.CRLDistributionPoints([x509.DistributionPoint([crl], None, None, None)]),
                critical=False,
            )
            .add_extension(_test_mark(), critical=False)
        )
        # Root brainpoolP384r1 with SHA-384, Sub-CA brainpoolP256r1 with SHA-256 (TR-03116-3 tab. 5)
        digest = hashes.SHA384() if signer.key_size > 256 else hashes.SHA256()
        return builder.sign(signer, digest)


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def _test_mark() -> x509.UnrecognizedExtension:
    comment = core.IA5String(TEST_COMMENT).dump()
    return x509.UnrecognizedExtension(ObjectIdentifier(NETSCAPE_COMMENT_OID), comment)


def issue_consumer_key(login: str, password: str, now: datetime | None = None) -> ConsumerKey:
    """Make a consumer's key pair, self-signed certificate and PKCS#12 file.

    The curve is secp384r1, the only one a CONEXA accepts in the HAN; the file uses the legacy
    encryption that the transparency software can read (``han-m2m.md`` 2.2): SHA-1 with 3DES.
    """
    start = now if now is not None else datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{login}.CON TEST")])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(secrets.token_bytes(8), "big") >> 1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=7 * 365))
        .add_extension(usage, critical=False)
        .add_extension(_test_mark(), critical=False)
        .sign(key, hashes.SHA256())
    )
    legacy = pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC
    encryption = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(50_000)
        .key_cert_algorithm(legacy)
        .hmac_hash(hashes.SHA1())  # noqa: S303  # what the official client can read
        .build(password.encode())
    )
    data = pkcs12.serialize_key_and_certificates(login.encode(), key, certificate, None, encryption)
    return ConsumerKey(der(certificate), data)
