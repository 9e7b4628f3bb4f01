"""Media types, content encodings and content protection of HTTP bodies (``wan.md`` 3.3, 3.4).

``application/vnd.de-dke-k461-cosem+xml`` is XML, with ``;encap=cms-tr03109`` it is sealed CMS. A
sealed body that was compressed inside says so with ``Content-Encoding: deflate`` (TR-03109-1 v1.0
3.2.4.4 no. 3); on a plain body the token means compression of the body itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wan.cms import CmsError, Opener, ProcessSource, Recipient, Signer, Suite, Trust, seal, unseal
from wan.cms.enveloped import Source
from wan.cosem.errors import CosemError
from wan.cosem.xml import MAX_OCTETS

XML = "application/vnd.de-dke-k461-cosem+xml"
SEALED = f"{XML};encap=cms-tr03109"
OCTETS = "application/octet-stream"
_XML_TYPES = (XML, "application/vnd.de-dke-k461-ic1+xml")  # ic1: seen on real traffic
_ENCAPS = ("cms-tr03109", "cms-tr03109-zlib")  # the second: same


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type: base in lower case without blanks, ``encap`` parameter."""

    base: str
    encap: str = ""

    @property
    def sealed(self) -> bool:
        """Whether the body is CMS."""
        return self.encap in _ENCAPS

    @property
    def xml(self) -> bool:
        """Whether it is COSEM XML, sealed or not."""
        return self.base in _XML_TYPES and (not self.encap or self.sealed)


def parse_media_type(text: str) -> MediaType:
    """Read a media type; both documents print a stray blank before ``+xml``, so blanks fall out."""
    base, *parameters = (part.replace(" ", "").lower() for part in text.split(";"))
    found = dict(part.partition("=")[::2] for part in parameters)
    return MediaType(base, found.get("encap", "").strip('"'))


def accepts(header: str | None, media: str) -> bool:
    """Tell whether an Accept header allows a media type; quality 0 refuses it."""
    if not header:
        return True
    wanted = parse_media_type(media)
    for part in header.split(","):
        if part.replace(" ", "").endswith(("q=0", "q=0.0")):
            continue
        offered = parse_media_type(part)
        major = wanted.base.partition("/")[0]
        if offered.base in {"*/*", f"{major}/*"}:
            return True
        if offered.base == wanted.base and offered.sealed == wanted.sealed:
            return True
    return False


class Protection:
    """Content protection towards one partner.

    Args:
        signer: the own C_Sig.
        trusted: the partner's C_Sig by key id.
        opener: the own C_Enc key.
        recipients: C_Enc of the final receivers.
        suite: from the WAN profile.
        source: where message keys come from.
    """

    def __init__(
        self,
        signer: Signer,
        trusted: Mapping[bytes, Trust],
        opener: Opener,
        recipients: Sequence[Recipient],
        suite: Suite = Suite.GCM,
        source: Source | None = None,
    ) -> None:
        self._signer = signer
        self._trusted = trusted
        self._opener = opener
        self._recipients = recipients
        self._suite = suite
        self._source = source or ProcessSource()

    def seal(self, content: bytes) -> bytes:
        """Return the sealed form: compressed, encrypted, signed."""
        return seal(content, self._signer, self._recipients, self._suite, source=self._source)

    def open(self, data: bytes) -> bytes:
        """Verify and open.

        Raises:
            CmsError: with the layer that refused.
        """
        return unseal(data, self._trusted, self._opener, limit=MAX_OCTETS).content


def open_body(
    body: bytes, headers: Mapping[str, str], protection: Protection | None, *, required: bool
) -> bytes:
    """Return the XML of a request's or response's body.

    Args:
        body: as it came.
        headers: names in lower case.
        protection: towards the partner; None: only plain bodies can be read.
        required: whether an unprotected body is refused (TR-03109-1 v1.0 3.2.4.4 MUST).

    Raises:
        CosemError: 415 another media type or encoding, 422 the protection is wrong, 413 too big.
    """
    media = parse_media_type(headers.get("content-type", ""))
    if not media.xml:
        raise CosemError(415, f"{media.base[:80] or 'no content type'} is not {XML}")
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity", "deflate", "gzip", "zlib"}:
        raise CosemError(415, f"content encoding {encoding[:40]!r}")
    if media.sealed:
        if protection is None:
            raise CosemError(415, "content protection is not configured")
        try:
            return protection.open(body)
        except CmsError as error:
            raise CosemError(422, str(error), "cms") from error
    if required:
        raise CosemError(415, "content protection (encap=cms-tr03109) is required")
    return body if encoding in {"", "identity"} else inflate(body)


def inflate(body: bytes) -> bytes:
    """Decompress zlib or gzip, bounded.

    Raises:
        CosemError: 422 damaged, 413 too big.
    """
    machine = zlib.decompressobj(47)  # zlib or gzip, told by the first octets
    try:
        data = machine.decompress(body, MAX_OCTETS)
    except zlib.error as error:
        raise CosemError(422, "compressed body is damaged") from error
    if machine.unconsumed_tail:
        raise CosemError(413, f"more than {MAX_OCTETS} octets")
    if not machine.eof:
        raise CosemError(422, "compressed body ends early")
    return data
