"""Checking SM-PKI certificates: path, validity, use, revocation, each refusal by its name.

The gateway matches its peers with configured end-entity certificates (DS2 Handshake.160); path
checks are made when a certificate is installed, and by the counterparts of the bench. RFC 5280
chapter 6 cut to the SM-PKI's shape: Root -> Sub-CA -> end entity, brainpool only (``crypto.md``
2.1). The root's revocation list is indirect: a CRL signer ``<root>.CRL-S`` signs it, its entries
name the issuer.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from hsm_sim import Purpose
from hsm_sim.certificates import read_certificate
from smgw_emu.core.errors import RemoteProtocolError


class Reason(StrEnum):
    """Why a certificate was refused."""

    MALFORMED = "malformed"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    REVOKED = "revoked"
    WRONG_ISSUER = "issued by somebody else"
    BAD_SIGNATURE = "signature of the issuer is wrong"
    NOT_A_CA = "issuer is not a certification authority"
    PATH_TOO_LONG = "path is longer than the issuer allows"
    WRONG_USE = "key usage does not allow this"
    WRONG_CURVE = "key is not on an allowed curve"
    NO_CRL = "no current revocation list"


class CertificateError(RemoteProtocolError):
    """A certificate was refused.

    Attributes:
        reason: the named reason.
        subject: common name, or "" where it cannot be read.
    """

    def __init__(self, reason: Reason, subject: str = "", detail: str = "") -> None:
        text = f"certificate {subject or '?'} refused: {reason}"
        super().__init__(f"{text} ({detail})" if detail else text)
        self.reason = reason
        self.subject = subject


@dataclass(frozen=True, slots=True)
class RevocationLists:
    """CRLs and the certificates of indirect CRL signers."""

    crls: tuple[x509.CertificateRevocationList, ...] = ()
    signers: tuple[x509.Certificate, ...] = ()


def load(data: bytes) -> x509.Certificate:
    """Read a certificate, DER or PEM, whole.

    Raises:
        CertificateError: malformed.
    """
    try:
        return read_certificate(data)
    except RemoteProtocolError as error:
        raise CertificateError(Reason.MALFORMED) from error


def common_name(certificate: x509.Certificate) -> str:
    """Return the common name of the subject, "" if there is none."""
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def key_id(certificate: x509.Certificate) -> bytes:
    """Return the subject key identifier.

    Raises:
        CertificateError: there is none.
    """
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound as error:
        raise CertificateError(
            Reason.MALFORMED, common_name(certificate), "no subject key identifier"
        ) from error
    return found.value.digest


def ec_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    """Return the public key.

    Raises:
        CertificateError: not an EC key.
    """
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CertificateError(Reason.WRONG_CURVE, common_name(certificate), "not an EC key")
    return key


def check_path(
    leaf: x509.Certificate,
    issuers: Sequence[x509.Certificate],
    anchor: x509.Certificate,
    at: datetime,
    *,
    purpose: Purpose | None = None,
    lists: RevocationLists | None = None,
) -> None:
    """Check a certificate up to a trust anchor.

    Args:
        leaf: the end entity's certificate.
        issuers: certificates between, the leaf's issuer first.
        anchor: the configured root.
        at: the moment of the check.
        purpose: what the leaf shall be used for.
        lists: revocation lists; None: revocation is not checked.

    Raises:
        CertificateError: with the named reason.
    """
    path = [leaf, *issuers, anchor]
    for depth, (certificate, issuer) in enumerate(itertools.pairwise(path)):
        _check_issued(certificate, issuer, depth)
    for certificate in path:
        check_validity(certificate, at)
    if purpose is not None:
        check_use(leaf, purpose)
    if lists is not None:
        for certificate, issuer in itertools.pairwise(path):
            _check_revocation(certificate, issuer, anchor, lists, at)


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate, depth: int) -> None:
    name = common_name(certificate)
    if certificate.issuer != issuer.subject:
        raise CertificateError(Reason.WRONG_ISSUER, name, common_name(issuer))
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        raise CertificateError(Reason.NOT_A_CA, common_name(issuer)) from None
    if not constraints.ca or not usage.key_cert_sign:
        raise CertificateError(Reason.NOT_A_CA, common_name(issuer))
    if constraints.path_length is not None and depth > constraints.path_length:
        raise CertificateError(Reason.PATH_TOO_LONG, name)
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise CertificateError(Reason.BAD_SIGNATURE, name) from error


def check_validity(certificate: x509.Certificate, at: datetime) -> None:
    """Check the validity period.

    Raises:
        CertificateError: expired or not yet valid.
    """
    name = common_name(certificate)
    if at < certificate.not_valid_before_utc:
        raise CertificateError(Reason.NOT_YET_VALID, name, str(certificate.not_valid_before_utc))
    if at > certificate.not_valid_after_utc:
        raise CertificateError(Reason.EXPIRED, name, str(certificate.not_valid_after_utc))


def check_use(certificate: x509.Certificate, purpose: Purpose) -> None:
    """Check curve, key usage and, for TLS, extended key usage (``crypto.md`` 2.1).

    Raises:
        CertificateError: the certificate is for something else.
    """
    name = common_name(certificate)
    if ec_key(certificate).curve.name != "brainpoolP256r1":  # TR-03116-3 tables 6, 21, 23
        raise CertificateError(Reason.WRONG_CURVE, name, ec_key(certificate).curve.name)
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        raise CertificateError(Reason.WRONG_USE, name, "no key usage") from None
    right = usage.key_agreement if purpose is Purpose.ENC else usage.digital_signature
    extended = _extended_use(certificate)
    tls = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    if not right or (purpose is Purpose.TLS) != (extended >= tls):
        raise CertificateError(Reason.WRONG_USE, name, f"not a {purpose} certificate")


def _extended_use(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    try:
        return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return set()


# -- revocation ------------------------------------------------------------------------------


def _check_revocation(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    anchor: x509.Certificate,
    lists: RevocationLists,
    at: datetime,
) -> None:
    name = common_name(certificate)
    crl = _list_for(certificate, issuer, anchor, lists, at)
    if crl is None:
        raise CertificateError(Reason.NO_CRL, name)
    current_issuer = crl.issuer
    for entry in crl:
        current_issuer = _entry_issuer(entry) or current_issuer
        if entry.serial_number == certificate.serial_number and (
            current_issuer == certificate.issuer
        ):
            raise CertificateError(Reason.REVOKED, name, str(entry.revocation_date_utc))


def _entry_issuer(entry: x509.RevokedCertificate) -> x509.Name | None:
    try:
        names = entry.extensions.get_extension_for_class(x509.CertificateIssuer).value
    except x509.ExtensionNotFound:
        return None
    found = names.get_values_for_type(x509.DirectoryName)
    return found[0] if found else None


def _list_for(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    anchor: x509.Certificate,
    lists: RevocationLists,
    at: datetime,
) -> x509.CertificateRevocationList | None:
    """Return the current list that covers a certificate and whose signature is right."""
    wanted = _crl_issuer(certificate) or issuer.subject
    signers = [issuer]
    for signer in lists.signers:
        try:
            check_path(signer, (), anchor, at)
        except CertificateError:
            continue
        signers.append(signer)
    for crl in lists.crls:
        signed = crl.issuer == wanted and any(_signed_by(crl, signer) for signer in signers)
        last = crl.next_update_utc
        if signed and crl.last_update_utc <= at and (last is None or at <= last):
            return crl
    return None


def _signs_lists(signer: x509.Certificate) -> bool:
    try:
        return signer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return False


def _signed_by(crl: x509.CertificateRevocationList, signer: x509.Certificate) -> bool:
    if crl.issuer != signer.subject or not _signs_lists(signer):
        return False
    key = signer.public_key()
    return isinstance(key, ec.EllipticCurvePublicKey) and crl.is_signature_valid(key)


def _crl_issuer(certificate: x509.Certificate) -> x509.Name | None:
    """Return the issuer of an indirect list named by the distribution point, if any."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return None
    for point in points:
        for name in point.crl_issuer or ():
            if isinstance(name, x509.DirectoryName):
                return name.value
    return None
