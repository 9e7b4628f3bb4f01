"""CMS SignedData of the TR profile (Detailspezifikation v2.0 table 5.6, ``wan.md`` 4.4).

Version 3, one signer named by subject key identifier, SHA-256, ecdsa-with-SHA256 with an X9.62
signature, signed attributes exactly contentType and messageDigest, no CRLs, no unsigned
attributes. Written as DER; BER is read. Signed attributes travel as ``[0]`` (A0) and are signed as
``SET OF`` (31).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from smgw_emu.core import der
from wan.cms import oids
from wan.cms.errors import CmsError, Layer

_SHA256 = der.algorithm(oids.SHA256)
_SHA256_NULL = der.algorithm(oids.SHA256, der.NULL_VALUE)  # seen from other writers
_ECDSA = der.algorithm(oids.ECDSA_WITH_SHA256)
_PREHASHED = ec.ECDSA(Prehashed(hashes.SHA256()))


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs.

    Attributes:
        key_id: subject key identifier of the signer's certificate.
        sign: SHA-256 digest -> DER ECDSA signature.
        certificates: DER certificates to carry along, leaf first; may be empty.
    """

    key_id: bytes
    sign: Callable[[bytes], bytes]
    certificates: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Trust:
    """A configured signer.

    Attributes:
        certificate: his end-entity certificate, DER.
        chain: certificates above it that a message may carry.
        check: (digest, DER signature) -> right; default: in the process.
    """

    certificate: bytes
    chain: tuple[bytes, ...] = ()
    check: Callable[[bytes, bytes], bool] | None = None

    @property
    def key_id(self) -> bytes:
        """Subject key identifier of the certificate.

        Raises:
            ValueError: the certificate is damaged or has none.
        """
        certificate = x509.load_der_x509_certificate(self.certificate)
        extension = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        return extension.value.digest

    def verifies(self, digest: bytes, signature: bytes) -> bool:
        """Tell whether a signature over a SHA-256 digest is this signer's."""
        if self.check is not None:
            return self.check(digest, signature)
        key = x509.load_der_x509_certificate(self.certificate).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        try:
            key.verify(signature, digest, _PREHASHED)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Verified:
    """A verified SignedData: content type (dotted), content, key id of the signer."""

    content_type: str
    content: bytes
    signer: bytes


def _attribute(kind: str, value: bytes) -> bytes:
    return der.sequence(der.oid(kind), der.set_of(value))


def sign(
    content: bytes,
    signer: Signer,
    content_type: str = oids.DATA,
    *,
    detached: bool = False,
    outer_type: str = oids.SIGNED_DATA,
) -> bytes:
    """Return a ContentInfo with SignedData over ``content``.

    Args:
        content: what is signed.
        signer: who signs.
        content_type: eContentType.
        detached: leave the content out (CMS_ECDSA_SHA256_Detached).
        outer_type: contentType of the ContentInfo; request packages use one of their own.
    """
    attributes = (
        _attribute(oids.CONTENT_TYPE, der.oid(content_type)),
        _attribute(oids.MESSAGE_DIGEST, der.octet_string(hashlib.sha256(content).digest())),
    )
    signed = der.set_of(*attributes)
    signature = signer.sign(hashlib.sha256(signed).digest())
    info = der.sequence(
        der.integer(3),
        der.implicit(0, signer.key_id),
        _SHA256,
        b"\xa0" + signed[1:],
        _ECDSA,
        der.octet_string(signature),
    )
    body = () if detached else (der.explicit(0, der.octet_string(content)),)
    carried = (der.explicit(0, *signer.certificates),) if signer.certificates else ()
    return der.sequence(
        der.oid(outer_type),
        der.explicit(
            0,
            der.sequence(
                der.integer(3),
                der.set_of(_SHA256),
                der.sequence(der.oid(content_type), *body),
                *carried,
                der.set_of(info),
            ),
        ),
    )


def verify(
    data: bytes,
    trusted: Mapping[bytes, Trust],
    *,
    detached: bytes | None = None,
    outer_type: str = oids.SIGNED_DATA,
) -> Verified:
    """Check a ContentInfo with SignedData.

    Args:
        data: DER or BER.
        trusted: configured signers by key id. Certificates in the message are never trusted; if
            there are any, each must be the configured one or stand in its chain.
        detached: the content, if the message does not carry it.
        outer_type: expected contentType of the ContentInfo.

    Raises:
        CmsError: anything is not as the profile asks, or the signature is wrong.
    """
    try:
        return _verify(data, trusted, detached, outer_type)
    except der.DerError as error:
        raise CmsError(Layer.SIGNATURE, str(error)) from error


def carried_certificates(data: bytes) -> tuple[bytes, ...]:
    """Return the certificates inside a message, DER, unchecked: who trusts a PKI checks their path.

    Raises:
        CmsError: not a SignedData.
    """
    try:
        outer = der.Reader(der.parse(data, ber=True), "ContentInfo")
        outer.oid("contentType")
        fields = outer.sequence("content", 0xA0).sequence("SignedData")
        fields.integer("version")
        fields.take(der.SET, "digestAlgorithms")
        fields.take(der.SEQUENCE, "encapContentInfo")
        found = fields.optional(0xA0)
    except der.DerError as error:
        raise CmsError(Layer.CONTAINER, str(error)) from error
    return () if found is None else tuple(item.raw for item in found.children)


def carried_content(data: bytes) -> bytes:
    """Return the content inside a message, unchecked: for looking at it, never for acting on it.

    Raises:
        CmsError: not a SignedData with its content.
    """
    try:
        outer = der.Reader(der.parse(data, ber=True), "ContentInfo")
        outer.oid("contentType")
        fields = outer.sequence("content", 0xA0).sequence("SignedData")
        fields.integer("version")
        fields.take(der.SET, "digestAlgorithms")
        info = fields.sequence("encapContentInfo")
        info.oid("eContentType")
        return _content(info, None)
    except der.DerError as error:
        raise CmsError(Layer.CONTAINER, str(error)) from error


def _refuse(reason: str) -> CmsError:
    return CmsError(Layer.SIGNATURE, reason)


def _verify(
    data: bytes, trusted: Mapping[bytes, Trust], detached: bytes | None, outer_type: str
) -> Verified:
    try:
        outer = der.Reader(der.parse(data, ber=True), "ContentInfo")
        kind = outer.oid("contentType")
    except der.DerError as error:
        raise CmsError(Layer.CONTAINER, str(error)) from error
    if kind != outer_type:
        raise CmsError(Layer.CONTAINER, f"content type {kind} instead of SignedData")
    fields = outer.sequence("content", 0xA0).sequence("SignedData")
    outer.end()
    if fields.integer("version") != 3:
        raise _refuse("SignedData version is not 3")
    digests = fields.sequence("digestAlgorithms", der.SET)
    _algorithm(digests.take(der.SEQUENCE, "digestAlgorithm"), _SHA256, _SHA256_NULL)
    digests.end()
    info = fields.sequence("encapContentInfo")
    content_type = info.oid("eContentType")
    content = _content(info, detached)
    certificates = fields.optional(0xA0)
    if fields.peek() == 0xA1:
        raise _refuse("CRLs are not part of the profile")
    signers = fields.sequence("signerInfos", der.SET)
    fields.end()
    one = signers.sequence("SignerInfo")
    if signers.peek() is not None:
        raise _refuse("more than one signer")
    return _check_signer(one, content_type, content, certificates, trusted)


def _content(info: der.Reader, detached: bytes | None) -> bytes:
    wrapped = info.optional(0xA0)
    info.end()
    if wrapped is None:
        if detached is None:
            raise _refuse("the content is missing (detached form)")
        return detached
    if detached is not None:
        raise _refuse("the content is inside although the detached form is expected")
    return der.Reader(wrapped, "eContent", 0xA0).take(der.OCTET_STRING, "eContent").octets()


def _algorithm(found: der.Element, *allowed: bytes) -> None:
    if found.raw not in allowed:
        raise _refuse("an algorithm that the profile does not know")


def _check_signer(
    info: der.Reader,
    content_type: str,
    content: bytes,
    certificates: der.Element | None,
    trusted: Mapping[bytes, Trust],
) -> Verified:
    if info.integer("version") != 3:
        raise _refuse("SignerInfo version is not 3")
    key_id = info.take(0x80, "subjectKeyIdentifier").octets()
    _algorithm(info.take(der.SEQUENCE, "digestAlgorithm"), _SHA256, _SHA256_NULL)
    attributes = info.take(0xA0, "signedAttrs")
    _algorithm(info.take(der.SEQUENCE, "signatureAlgorithm"), _ECDSA)
    signature = info.take(der.OCTET_STRING, "signature").octets()
    if info.peek() is not None:
        raise _refuse("unsigned attributes are not part of the profile")
    _check_attributes(attributes, content_type, content)
    trust = trusted.get(key_id)
    if trust is None:
        raise _refuse(f"signer {key_id[:20].hex()} is not configured")
    if certificates is not None:
        known = {trust.certificate, *trust.chain}
        if any(item.raw not in known for item in certificates.children):
            raise _refuse("a certificate in the message is not the configured one")
    signed = der.tlv(der.SET, attributes.content)
    if not trust.verifies(hashlib.sha256(signed).digest(), signature):
        raise _refuse("the signature is wrong")
    return Verified(content_type, content, key_id)


def _check_attributes(attributes: der.Element, content_type: str, content: bytes) -> None:
    if attributes.raw != der.tlv(0xA0, *sorted(child.raw for child in attributes.children)):
        raise _refuse("signed attributes are not DER")
    found = attribute_values(attributes)
    if found.keys() != {oids.CONTENT_TYPE, oids.MESSAGE_DIGEST}:
        raise _refuse("signed attributes must be contentType and messageDigest, nothing else")
    if found[oids.CONTENT_TYPE].raw != der.oid(content_type):
        raise _refuse("signed content type is another one")
    digest = hashlib.sha256(content).digest()
    if not hmac.compare_digest(found[oids.MESSAGE_DIGEST].octets(), digest):
        raise _refuse("the content has been changed (message digest)")


def attribute_values(attributes: der.Element) -> dict[str, der.Element]:
    """Return the single value of each attribute by type.

    Raises:
        DerError: an attribute twice, or without exactly one value.
    """
    found: dict[str, der.Element] = {}
    for child in attributes.children:
        fields = der.Reader(child, "attribute")
        kind = fields.oid("attrType")
        values = fields.sequence("attrValues", der.SET)
        if kind in found:
            raise der.DerError("an attribute is given twice")
        found[kind] = values.next()
        values.end()
        fields.end()
    return found
