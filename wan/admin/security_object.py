"""The gateway's WAN keys and certificates as an object."""

from __future__ import annotations

from collections.abc import Callable

from hsm_sim import Purpose, SecurityModuleError
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.life import LifeInput
from wan.admin.base import DONE, Plain
from wan.cosem.data import Data, array, octets, structure, text
from wan.cosem.documents import MethodResponse
from wan.cosem.service import Reply

SECURITY = "00002b0000ff"


class SecurityObject(Plain):
    """The gateway's WAN keys: new pairs, request, certificates."""

    class_id, name = 64, SECURITY

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return what the class table names."""
        keys = self.facilities.keys
        return {
            5: lambda: octets(str(self.facilities.device.id).encode()),
            6: lambda: array(
                *(
                    structure(
                        Data("unsigned", number),
                        text(purpose),
                        octets(keys.certificate(purpose, number)),
                    )
                    for number in keys.generations()
                    for purpose in Purpose
                )
            ),
            -1: lambda: Data("unsigned", keys.generation),
        }

    def call(self, index: int, data: Data | None, reply: Reply | None) -> MethodResponse | None:
        """Run a method of the class table."""
        f = self.facilities
        try:
            if index == 4:
                number = f.keys.generate()
                f.device.logbooks.write("keys-requested", f.now(), generation=number)
                return MethodResponse(0, Data("unsigned", number))
            if index == 5:
                return MethodResponse(0, octets(f.keys.request()))
            if index == 6:
                return self._install(data)
            if index == 8:
                return MethodResponse(3, text("old sets stay: they check what they signed"))
        except (ConfigError, SecurityModuleError) as error:
            return MethodResponse(250, text(str(error)))
        return super().call(index, data, reply)

    def _install(self, data: Data | None) -> MethodResponse:
        """``array of octet-string``: the three certificates and their issuer, any order."""
        parts = data.value if data is not None and isinstance(data.value, tuple) else ()
        documents = [part.value for part in parts if isinstance(part.value, bytes)]
        f = self.facilities
        now = f.now()
        at = now.datetime() if f.device.clock.valid else None
        with f.device.store.transaction():
            number = f.keys.install(documents, at)
            f.device.life.apply(LifeInput.CERTIFICATES, now)
            until = min(f.keys.expiries().values())
            f.device.logbooks.write(
                "certificates-installed",
                now,
                generation=number,
                until=DeviceTime.from_datetime(until).iso(),
            )
        f.keys.on_switch()
        return DONE
