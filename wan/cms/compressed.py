"""CompressedData over id-data: zlib, version 0 (RFC 3274, ``wan.md`` 4.5)."""

from __future__ import annotations

import zlib

from smgw_emu.core import der
from wan.cms import oids
from wan.cms.errors import CmsError, Layer

MAX_PLAIN = 16 << 20  # own limit: a small message must not fill the memory


def compress(content: bytes) -> bytes:
    """Return CompressedData (without ContentInfo) over id-data."""
    return der.sequence(
        der.integer(0),
        der.algorithm(oids.ZLIB),
        der.sequence(
            der.oid(oids.DATA), der.explicit(0, der.octet_string(zlib.compress(content, 6)))
        ),
    )


def decompress(element: der.Element, limit: int = MAX_PLAIN) -> bytes:
    """Return the content of CompressedData.

    Raises:
        CmsError: another algorithm, a damaged stream, or more than ``limit`` octets.
        DerError: another structure.
    """
    fields = der.Reader(element, "CompressedData")
    if fields.integer("version") != 0:
        raise CmsError(Layer.COMPRESSION, "version is not 0")
    algorithm = fields.sequence("compressionAlgorithm")
    if algorithm.oid("algorithm") != oids.ZLIB:
        raise CmsError(Layer.COMPRESSION, "algorithm is not zlib")
    algorithm.end()
    info = fields.sequence("encapContentInfo")
    if info.oid("eContentType") != oids.DATA:
        raise CmsError(Layer.COMPRESSION, "content is not id-data")
    stream = info.sequence("eContent", 0xA0).take(der.OCTET_STRING, "eContent").octets()
    info.end()
    fields.end()
    machine = zlib.decompressobj()
    try:
        plain = machine.decompress(stream, limit)
    except zlib.error:
        raise CmsError(Layer.COMPRESSION, "damaged zlib stream") from None
    if machine.unconsumed_tail:
        raise CmsError(Layer.COMPRESSION, f"more than {limit} octets")
    if not machine.eof or machine.unused_data:
        raise CmsError(Layer.COMPRESSION, "zlib stream does not end with the content")
    return plain
