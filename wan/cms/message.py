"""All layers of a WAN message: SignedData over AuthEnvelopedData over CompressedData."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smgw_emu.core import der
from wan.cms import oids
from wan.cms.compressed import MAX_PLAIN, compress, decompress
from wan.cms.enveloped import (
    KeyAgreement,
    Opener,
    ProcessSource,
    Recipient,
    SharedInfo,
    Source,
    Suite,
    envelope,
    open_envelope,
)
from wan.cms.errors import CmsError, Layer
from wan.cms.signed import Signer, Trust, sign, verify

_PROCESS = ProcessSource()


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened message.

    Attributes:
        content: the plain octets.
        signer: key id of the signer.
        compressed: whether it was compressed before encryption.
        suite: content encryption.
        shared_info: which SharedInfo the sender's KDF used.
    """

    content: bytes
    signer: bytes
    compressed: bool
    suite: Suite
    shared_info: SharedInfo


def seal(
    content: bytes,
    signer: Signer,
    recipients: Sequence[Recipient],
    suite: Suite = Suite.GCM,
    *,
    compressed: bool = True,
    source: Source = _PROCESS,
    shared_info: SharedInfo = SharedInfo.RFC5753,
    key_agreement: KeyAgreement = KeyAgreement.ECKA_EG,
) -> bytes:
    """Return a message for ``recipients``, signed by ``signer``, as DER ContentInfo.

    Args:
        content: plain octets.
        signer: the sender's C_Sig.
        recipients: the final receivers' C_Enc; one KeyAgreeRecipientInfo each.
        suite: from the WAN communication profile.
        compressed: CMS_ZLIB first.
        source: where message keys and ephemeral pairs come from.
        shared_info: KDF input.
        key_agreement: how the key agreement is named.

    Raises:
        CmsError: no recipient.
    """
    inner, kind = (compress(content), oids.COMPRESSED_DATA) if compressed else (content, oids.DATA)
    sealed = envelope(
        inner,
        kind,
        recipients,
        suite,
        source=source,
        shared_info=shared_info,
        key_agreement=key_agreement,
    )
    return sign(sealed, signer, oids.AUTH_ENVELOPED_DATA)


def unseal(
    data: bytes,
    trusted: Mapping[bytes, Trust],
    opener: Opener,
    *,
    accept_standard: bool = False,
    limit: int = MAX_PLAIN,
) -> Opened:
    """Verify and open a message; nothing is decrypted before the signature is right.

    Args:
        data: ContentInfo, DER or BER.
        trusted: configured signers by key id.
        opener: the reader's C_Enc key.
        accept_standard: see :func:`wan.cms.enveloped.open_envelope`.
        limit: most octets of plain content.

    Raises:
        CmsError: with the layer that refused and why.
    """
    verified = verify(data, trusted)
    if verified.content_type != oids.AUTH_ENVELOPED_DATA:
        raise CmsError(
            Layer.SIGNATURE, f"signed content is {verified.content_type}, not an envelope"
        )
    return open_signed(
        verified.content, verified.signer, opener, accept_standard=accept_standard, limit=limit
    )


def open_signed(
    envelope_octets: bytes,
    signer: bytes,
    opener: Opener,
    *,
    accept_standard: bool = False,
    limit: int = MAX_PLAIN,
) -> Opened:
    """Open the envelope inside a verified message (see :func:`unseal`)."""
    try:
        element = der.parse(envelope_octets, ber=True)
        opened = open_envelope(element, opener, accept_standard=accept_standard)
    except der.DerError as error:
        raise CmsError(Layer.ENVELOPE, str(error)) from error
    content, compressed = opened.content, opened.content_type == oids.COMPRESSED_DATA
    if compressed:
        try:
            content = decompress(der.parse(content, ber=True), limit)
        except der.DerError as error:
            raise CmsError(Layer.COMPRESSION, str(error)) from error
    elif opened.content_type != oids.DATA:
        raise CmsError(Layer.ENVELOPE, f"inner content {opened.content_type} is not in the profile")
    if len(content) > limit:
        raise CmsError(Layer.ENVELOPE, f"more than {limit} octets")
    return Opened(content, signer, compressed, opened.suite, opened.shared_info)
