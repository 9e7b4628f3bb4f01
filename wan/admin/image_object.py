"""Firmware images: load, verify, activate as separate services (TR-03109-1 v1.0 3.2.2 WAF1)."""

from __future__ import annotations

from collections.abc import Callable

from wan.admin.base import DONE, Plain
from wan.cosem.data import Data, array, octets, structure, text, unsigned32
from wan.cosem.documents import MethodResponse
from wan.cosem.errors import CosemError
from wan.cosem.service import Reply

IMAGES = "00002c0000ff"


class ImageObject(Plain):
    """Firmware images: state, verification, activation (WAF1)."""

    class_id, name = 18, IMAGES

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return what the class table names."""
        store, images = self.facilities.device.store, self.facilities.images
        status = int(store.get_meta("image-status") or 0)
        return {
            2: lambda: unsigned32(65_536),
            3: lambda: Data("bit-string", ""),
            4: lambda: unsigned32(0),
            5: lambda: Data("boolean", True),
            6: lambda: Data("enum", status),
            7: lambda: array(
                *(
                    structure(
                        unsigned32(size), octets(name.encode()), octets(bytes.fromhex(digest))
                    )
                    for name, size, digest in images.complete()
                )
            ),
        }

    def call(
        self,
        index: int,
        data: Data | None,
        reply: Reply | None,  # noqa: ARG002
    ) -> MethodResponse | None:
        """Run a method of the class table."""
        parts = data.value if data is not None and isinstance(data.value, tuple) else ()
        values: list[object] = [part.value for part in parts]
        if index == 3:
            return self._verify(values)
        if index == 4:
            return self._activate(values)
        raise (
            CosemError(501, "images are put to /smgw/firmware/NAME")
            if index in {1, 2}
            else (CosemError(404, "no such method"))
        )

    def _verify(self, values: list[object]) -> MethodResponse:
        """``{UTF8 name, octet-string SHA-256}``: compare the image with the announced hash."""
        match values:
            case [str(name), bytes(wanted)]:
                pass
            case _:
                raise CosemError(422, "structure of name and SHA-256 expected", "image_verify")
        f = self.facilities
        found = f.images.hash(name)
        right = found == wanted.hex()
        with f.device.store.transaction():
            f.device.store.set_meta("image-status", "3" if right else "4")
            if right:
                f.device.store.set_meta("image-verified", f"{name} {found}")
                f.device.logbooks.write(
                    "firmware-verified", f.now(), image=name, result="Prüfsumme stimmt"
                )
            else:
                f.device.logbooks.write(
                    "firmware-refused", f.now(), outcome="F", image=name, reason="Prüfsumme falsch"
                )
        return DONE if right else MethodResponse(250, text("the hash is another one"))

    def _activate(self, values: list[object]) -> MethodResponse:
        """``{UTF8 name, UTF8 moment or ""}``; only a verified image."""
        match values:
            case [str(name), str(moment)]:
                pass
            case _:
                raise CosemError(422, "structure of name and moment expected", "image_activate")
        f = self.facilities
        if f.device.store.get_meta("image-verified") != f"{name} {f.images.hash(name)}":
            return MethodResponse(250, text("image_verify comes first"))
        with f.device.store.transaction():
            f.device.store.set_meta("image-status", "5")
            f.device.logbooks.write(
                "firmware-activation", f.now(), image=name, moment=moment or "sofort"
            )
        f.activate(name, moment)
        return DONE
