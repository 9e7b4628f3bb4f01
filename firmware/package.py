"""Firmware packages: a signed manifest and the images it names.

The vendor's format is not public (requirements 2.7 no. 6); ours has the parts the documents ask
for: signer is the manufacturer, the gateway can prove authenticity and integrity before it installs
(TR-03109-1 v1.0 3.2.2 WAF1), kernel image and root file system are told apart (manual D-2.1).

======== =====================================================================
octets   content
======== =====================================================================
0..7     ``SMGWFW01`` signed, ``SMGWFW00`` not yet signed
8..11    length n of the manifest part, big endian
12..     CMS SignedData over the manifest, or the manifest alone: JSON in UTF-8
12+n..   the images one after another, in the manifest's order and lengths
======== =====================================================================

The firmware hash a device shows is SHA-256 over the SHA-256 of each image, in order: "over all
packages" (IF_GW_CON A-2.2).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, BinaryIO, Literal

import msgspec

from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.images import MAX_IMAGE
from wan.cms import CmsError, Signer, Trust, carried_content, sign, verify

SIGNED, UNSIGNED = b"SMGWFW01", b"SMGWFW00"
HEAD = 12
MAX_MANIFEST = 65_536
BLOCK = 65_536
KERNEL, ROOTFS, APPLICATION = "kernel", "rootfs", "application"
ORDER = (KERNEL, ROOTFS, APPLICATION)
_VERSION = re.compile(r"v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:-[A-Za-z0-9.]{1,32})?", re.ASCII)

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class PackageError(RemoteProtocolError):
    """A package was refused.

    Attributes:
        damaged: it is not a whole package; False: somebody else made it, or it is not for us.
    """

    def __init__(self, reason: str, *, damaged: bool = True) -> None:
        super().__init__(reason)
        self.damaged = damaged


class Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One image: name, octets, SHA-256 in hex."""

    name: Literal["kernel", "rootfs", "application"]
    octets: Annotated[int, msgspec.Meta(ge=1, le=MAX_IMAGE)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the manufacturer signs.

    Attributes:
        product: the model it is for.
        version: of the whole, ``v3.87.0-cc``.
        kind: security-relevant or functional (GW-81).
        min_version: oldest active version it may follow, "" for any.
        built: when, for people.
        images: kernel, rootfs, application.
    """

    product: Name
    version: Name
    kind: Literal["security", "functional"] = "functional"
    min_version: Annotated[str, msgspec.Meta(max_length=64)] = ""
    built: Annotated[str, msgspec.Meta(max_length=64)] = ""
    images: tuple[Image, ...] = ()

    @property
    def hash(self) -> str:
        """The firmware hash a device shows, 64 hex digits."""
        digests = b"".join(bytes.fromhex(image.sha256) for image in self.images)
        return hashlib.sha256(digests).hexdigest()


def version_key(version: str) -> tuple[int, int, int]:
    """Return what versions are compared by: ``v3.87.0-cc`` -> (3, 87, 0).

    Raises:
        PackageError: another form.
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        raise PackageError(f"not a version: {version[:40]!r}")
    return int(match[1]), int(match[2]), int(match[3])


@dataclass(frozen=True, slots=True)
class Package:
    """An open package; images are read when they are asked for.

    Attributes:
        file: where it lies, at any position.
        manifest: what it says of itself.
        signed: whether the manifest's signature was checked and right.
        start: octet at which the images begin.
    """

    file: BinaryIO
    manifest: Manifest
    signed: bool
    start: int

    @property
    def octets(self) -> int:
        """Length of the whole."""
        return self.start + sum(image.octets for image in self.manifest.images)

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield the octets of an image; fewer than it has if the file is shorter."""
        offset = self.start
        for image in self.manifest.images:
            if image.name == name:
                left = image.octets
                while left:
                    self.file.seek(offset)
                    block = self.file.read(min(BLOCK, left))
                    if not block:
                        return
                    offset, left = offset + len(block), left - len(block)
                    yield block
                return
            offset += image.octets

    def read(self, name: str) -> bytes:
        """Return an image."""
        return b"".join(self.blocks(name))

    def finding(self, name: str) -> str:
        """Return what is wrong with an image, "" if nothing is."""
        image = next(item for item in self.manifest.images if item.name == name)
        digest, octets = hashlib.sha256(), 0
        for block in self.blocks(name):
            digest.update(block)
            octets += len(block)
        if octets != image.octets:
            return f"{name}: {octets} of {image.octets} octets"
        return "" if digest.hexdigest() == image.sha256 else f"{name}: SHA-256 is another one"

    def check(self) -> None:
        """Check every image, and that nothing follows them.

        Raises:
            PackageError: with the first finding.
        """
        length = self.file.seek(0, os.SEEK_END)
        if length > self.octets:
            raise PackageError(f"{length - self.octets} octets follow the images")
        for image in self.manifest.images:
            finding = self.finding(image.name)
            if finding:
                raise PackageError(finding)


def build(manifest: Manifest, images: Mapping[str, bytes]) -> bytes:
    """Return an unsigned package.

    Args:
        manifest: without images.
        images: octets by name: kernel, rootfs, application.

    Raises:
        ConfigError: an image is missing or too much, or the version has another form.
    """
    if set(images) != set(ORDER):
        raise ConfigError(f"a package has {', '.join(ORDER)}, not {', '.join(images) or 'nothing'}")
    try:
        version_key(manifest.version)
        if manifest.min_version:
            version_key(manifest.min_version)
    except PackageError as error:
        raise ConfigError(str(error)) from error
    if sum(map(len, images.values())) > MAX_IMAGE - MAX_MANIFEST or not all(images.values()):
        raise ConfigError(f"images have 1 to {MAX_IMAGE - MAX_MANIFEST} octets together")
    listed = tuple(
        Image(name, len(images[name]), hashlib.sha256(images[name]).hexdigest())  # type: ignore[arg-type]
        for name in ORDER
    )
    text = msgspec.json.encode(msgspec.structs.replace(manifest, images=listed))
    return _head(UNSIGNED, text) + b"".join(images[name] for name in ORDER)


def sign_package(package: bytes, signer: Signer) -> bytes:
    """Return the package with its manifest signed; an older signature is replaced.

    Raises:
        PackageError: not a package.
    """
    magic, part = _part(package[: HEAD + MAX_MANIFEST])
    text = part if magic == UNSIGNED else _content(part)
    _manifest(text)
    return _head(SIGNED, sign(text, signer)) + package[HEAD + len(part) :]


def open_package(file: BinaryIO, trusted: Mapping[bytes, Trust] | None) -> Package:
    """Read the head of a package and check its signature.

    Args:
        file: the package.
        trusted: manufacturer's certificates by key id; None reads without a check, for people.

    Raises:
        PackageError: not a package (``damaged``), or not signed by the manufacturer.
    """
    file.seek(0)
    magic, part = _part(file.read(HEAD + MAX_MANIFEST))
    if trusted is None:
        text = part if magic == UNSIGNED else _content(part)
    elif magic == UNSIGNED:
        raise PackageError("the package is not signed", damaged=False)
    else:
        try:
            text = verify(part, trusted).content
        except CmsError as error:
            raise PackageError(f"signature: {error}", damaged=False) from error
    return Package(file, _manifest(text), trusted is not None, HEAD + len(part))


def _head(magic: bytes, part: bytes) -> bytes:
    if len(part) > MAX_MANIFEST:
        raise ConfigError(f"the manifest has more than {MAX_MANIFEST} octets")
    return magic + len(part).to_bytes(4, "big") + part


def _part(data: bytes) -> tuple[bytes, bytes]:
    magic = data[:8]
    if magic not in {SIGNED, UNSIGNED}:
        raise PackageError("no firmware package begins here")
    length = int.from_bytes(data[8:HEAD], "big")
    part = data[HEAD : HEAD + length]
    if length > MAX_MANIFEST or len(part) < length:
        raise PackageError(f"the manifest has {len(part)} of {length} octets")
    return magic, part


def _content(part: bytes) -> bytes:
    """Return what a SignedData carries, unchecked."""
    try:
        return carried_content(part)
    except CmsError as error:
        raise PackageError(f"manifest: {error}") from error


def _manifest(text: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PackageError(f"manifest: {error}") from error
    if tuple(image.name for image in manifest.images) != ORDER:
        raise PackageError(f"manifest: images must be {', '.join(ORDER)}")
    if sum(image.octets for image in manifest.images) > MAX_IMAGE:
        raise PackageError(f"manifest: more than {MAX_IMAGE} octets")
    version_key(manifest.version)
    if manifest.min_version:
        version_key(manifest.min_version)
    return manifest
