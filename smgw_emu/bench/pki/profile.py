"""Names and extensions of SM-PKI certificates as far as they are known (``crypto.md`` 2.1)."""

from __future__ import annotations

import re
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from hsm_sim import Purpose
from hsm_sim.certificates import NETSCAPE_COMMENT_OID, TEST_COMMENT
from smgw_emu.core import der

CA_POLICY = ObjectIdentifier("0.4.0.127.0.7.3.4.1.1.1")  # Sub-CA policy seen in the field
CPS = "https://test.invalid/cps"
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*", re.ASCII)  # X.680 table 10


class Role(StrEnum):
    """Functions in a common name (``<id>.<function>[.<extension>]``)."""

    SMGW = "SMGW"
    GWA = "GWA"
    EMT = "EMT"
    GWH = "GWH"


def name(common_name: str, organisation: str, *, unit: str = "", serial: str = "1") -> x509.Name:
    """Return CN, O, [OU,] C=DE, serialNumber, in this order, as PrintableString."""
    kinds = [(NameOID.COMMON_NAME, common_name), (NameOID.ORGANIZATION_NAME, organisation)]
    if unit:
        kinds.append((NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
    kinds += [(NameOID.COUNTRY_NAME, "DE"), (NameOID.SERIAL_NUMBER, serial)]
    printable = _ASN1Type.PrintableString
    return x509.Name(
        [x509.NameAttribute(kind, value, _type=_form(value, printable)) for kind, value in kinds]
    )


def _form(value: str, printable: _ASN1Type) -> _ASN1Type:
    """UTF8String only where PrintableString cannot say it (umlauts)."""
    return printable if _PRINTABLE.fullmatch(value) else _ASN1Type.UTF8String


def key_usage(purpose: Purpose | None) -> x509.KeyUsage:
    """Return the key usage of a triple's certificate; None: of a certification authority."""
    is_ca, encrypts = purpose is None, purpose is Purpose.ENC
    return x509.KeyUsage(
        digital_signature=not is_ca and not encrypts,
        content_commitment=False,
        key_encipherment=encrypts,
        data_encipherment=False,
        key_agreement=encrypts,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def list_signer_usage() -> x509.KeyUsage:
    """Return the key usage of a CRL signer."""
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def tls_usage() -> x509.ExtendedKeyUsage:
    """Return clientAuth + serverAuth."""
    return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])


def alternative_names(label: str, role: Role, purpose: Purpose) -> x509.SubjectAlternativeName:
    """Return rfc822Name and URI, and a dNSName on the TLS certificate."""
    host = f"{label.lower()}.{role.lower()}.test.invalid"
    names: list[x509.GeneralName] = [
        x509.RFC822Name(f"{role.lower()}@{host}"),
        x509.UniformResourceIdentifier(f"https://{host}"),
    ]
    if purpose is Purpose.TLS:
        names.append(x509.DNSName(host))
    return x509.SubjectAlternativeName(names)


def policies() -> x509.CertificatePolicies:
    """Return the policy with its practice statement."""
    return x509.CertificatePolicies([x509.PolicyInformation(CA_POLICY, [CPS])])


def list_location(label: str) -> x509.UniformResourceIdentifier:
    """Return where a list lies on the web."""
    return x509.UniformResourceIdentifier(f"http://crl.test.invalid/{label}.crl")


def list_point(label: str, issuer: x509.Name | None = None) -> x509.CRLDistributionPoints:
    """Return where a CRL lies; with ``issuer`` an indirect one, by http and ldap."""
    locations: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(f"ldap://crl.test.invalid/CN={label}")
    ]
    if issuer is not None:
        locations.insert(0, list_location(label))
    named = [x509.DirectoryName(issuer)] if issuer is not None else None
    return x509.CRLDistributionPoints([x509.DistributionPoint(locations, None, None, named)])


def issuer_alternative_name(label: str) -> x509.IssuerAlternativeName:
    """Return the web page of the issuer."""
    return x509.IssuerAlternativeName(
        [x509.UniformResourceIdentifier(f"https://{label.lower()}.test.invalid")]
    )


def mark() -> x509.UnrecognizedExtension:
    """Return the extension that marks everything as TEST."""
    comment = der.text(TEST_COMMENT, der.IA5_STRING)
    return x509.UnrecognizedExtension(ObjectIdentifier(NETSCAPE_COMMENT_OID), comment)


def ca_curve(name_: str) -> ec.EllipticCurve:
    """Return a curve by name.

    Raises:
        KeyError: not a curve of a certification authority (TR-03116-3 table 5).
    """
    return {
        "brainpoolP256r1": ec.BrainpoolP256R1(),
        "brainpoolP384r1": ec.BrainpoolP384R1(),
        "brainpoolP512r1": ec.BrainpoolP512R1(),
    }[name_]
