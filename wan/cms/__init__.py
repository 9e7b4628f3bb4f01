"""Content data security: compress, encrypt and MAC, sign (TR-03109-1 v1.0 3.2.4.4).

The profile is chapter 5 of the Detailspezifikation v2.0, digested in ``wan.md`` 4 and
``crypto.md`` 3. :func:`seal` and :func:`unseal` do all layers; the modules below do one each.
"""

from wan.cms.enveloped import (
    KeyAgreement,
    Opener,
    ProcessSource,
    Recipient,
    SharedInfo,
    Suite,
    source_of,
)
from wan.cms.errors import CmsError, Layer
from wan.cms.message import Opened, seal, unseal
from wan.cms.signed import (
    Signer,
    Trust,
    carried_certificates,
    carried_content,
    sign,
    verify,
)

__all__ = [
    "CmsError",
    "KeyAgreement",
    "Layer",
    "Opened",
    "Opener",
    "ProcessSource",
    "Recipient",
    "SharedInfo",
    "Signer",
    "Suite",
    "Trust",
    "carried_certificates",
    "carried_content",
    "seal",
    "sign",
    "source_of",
    "unseal",
    "verify",
]
