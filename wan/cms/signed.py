"""CMS SignedData of the TR profile (``wan.md`` 4.4; Detailspezifikation v2.0 table 5.6).

Version 3, one signer named by subject key identifier, SHA-256, ecdsa-with-SHA256 with an X9.62
signature, signed attributes exactly contentType and messageDigest, no CRLs, no unsigned
attributes. Written as DER.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from asn1crypto import cms, x509


def sign(
    content: bytes,
    sign_message: Callable[[bytes], bytes],
    signer_key_id: bytes,
    certificates: Sequence[bytes] = (),
) -> bytes:
    """Return a ContentInfo with SignedData over ``content`` (id-data, attached).

    Args:
        content: what is signed.
        sign_message: message -> DER ECDSA signature with SHA-256.
        signer_key_id: subject key identifier of the signer's certificate.
        certificates: DER certificates to carry along, leaf first.
    """
    attributes = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
            cms.CMSAttribute(
                {"type": "message_digest", "values": [hashlib.sha256(content).digest()]}
            ),
        ]
    )
    # signed as SET OF (tag 31), carried as [0] (tag A0): crypto.md 3.3
    signature = sign_message(attributes.dump())
    signer = cms.SignerInfo(
        {
            "version": "v3",
            "sid": cms.SignerIdentifier(name="subject_key_identifier", value=signer_key_id),
            "digest_algorithm": {"algorithm": "sha256"},
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": signature,
        }
    )
    signed = cms.SignedData(
        {
            "version": "v3",
            "digest_algorithms": [{"algorithm": "sha256"}],
            "encap_content_info": {"content_type": "data", "content": content},
            "signer_infos": [signer],
        }
    )
    if certificates:
        signed["certificates"] = [
            cms.CertificateChoices(name="certificate", value=x509.Certificate.load(item))
            for item in certificates
        ]
    info = cms.ContentInfo({"content_type": "signed_data", "content": signed})
    return bytes(info.dump())
