"""Reading XML of strangers, bounded, and writing our own.

No DTD, no entity, no processing instruction that matters; depth, number of elements and size are
limited before a tree exists. UTF-8 only (Anlage II 8.2.2).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, register_namespace, tostring

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from wan.cosem.errors import XmlError

COD = "urn:k461-dke-de:cod-1"  # COSEM data types, Anlage II 8.3
COR = "urn:k461-dke-de:cor-1"  # REST structure, Anlage II 8.2.3

MAX_OCTETS = 4 << 20  # own choice: a month of one-minute values is 3 MiB
MAX_DEPTH = 32  # own choice: no known structure is half as deep
MAX_ELEMENTS = 400_000  # own choice, fits MAX_OCTETS
_ENCODING = re.compile(rb"""^<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")

register_namespace("cod", COD)
register_namespace("", COR)


class _Bounded(TreeBuilder):
    """A tree that stops growing."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = self._elements = 0

    def start(self, tag: Any, attrs: Any, /) -> Element:
        self._depth += 1
        self._elements += 1
        if self._depth > MAX_DEPTH:
            raise XmlError(f"deeper than {MAX_DEPTH} elements")
        if self._elements > MAX_ELEMENTS:
            raise XmlError(f"more than {MAX_ELEMENTS} elements")
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def parse(data: bytes) -> Element:
    """Read a document.

    Raises:
        XmlError: too big, not UTF-8, not well-formed, with a DTD, or beyond the limits.
    """
    if len(data) > MAX_OCTETS:
        raise XmlError(f"more than {MAX_OCTETS} octets")
    named = _ENCODING.match(data.removeprefix(codecs.BOM_UTF8))
    if named and named[1].lower() not in {b"utf-8", b"utf8", b"us-ascii"}:
        raise XmlError(f"encoding {named[1].decode()} is not UTF-8")
    parser = DefusedXMLParser(target=_Bounded(), forbid_dtd=True)
    try:
        data.decode("utf-8")
        parser.feed(data)
        root: Element = parser.close()
    except UnicodeDecodeError as error:
        raise XmlError("not UTF-8") from error
    except DefusedXmlException as error:
        raise XmlError("a DTD, an entity or an external reference") from error
    except (ParseError, ValueError) as error:
        raise XmlError(f"not well-formed: {error}") from error
    return root


def write(root: Element) -> bytes:
    """Return a document in UTF-8 with its declaration."""
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root)


def local(element: Element, namespace: str) -> str:
    """Return the local name of an element.

    Raises:
        XmlError: it stands in another namespace.
    """
    space, _, name = element.tag.rpartition("}")
    if space != "{" + namespace:
        raise XmlError(f"{element.tag[:80]} is not of {namespace}")
    return name


def attributes(element: Element, allowed: Mapping[str, bool], where: str) -> dict[str, str]:
    """Return an element's attributes.

    Args:
        element: the element.
        allowed: name -> whether it must be there.
        where: path for the error.

    Raises:
        XmlError: unknown or missing attribute.
    """
    found = {str(name): str(value) for name, value in element.attrib.items()}
    for name in found:
        if name not in allowed:
            raise XmlError(f"unknown attribute {name[:60]!r}", where)
    for name, needed in allowed.items():
        if needed and name not in found:
            raise XmlError(f"attribute {name!r} is missing", where)
    return found


def no_text(element: Element, where: str) -> None:
    """Refuse text between child elements.

    Raises:
        XmlError: there is some.
    """
    texts = [element.text, *(child.tail for child in element)]
    if any(text and text.strip(" \t\r\n") for text in texts):
        raise XmlError("text between elements", where)
