"""TLS contexts and content protection towards the partners of WAN profiles."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

import msgspec
import structlog

from hsm_sim import Purpose, SecurityModuleError
from hsm_sim.interface import KeyModule
from hsm_sim.slots import gwa_certificate, gwa_key
from smgw_emu.core.wan_profiles import WanProfile
from smgw_emu.profiles import Profile, Tls
from smgw_emu.transport.presets import TlsContext, client_context, module_identity
from smgw_emu.transport.tls import Watcher
from smgw_emu.transport.watchers import ValidityWatcher, Watchers, watcher_of
from wan.admin import KeyRing
from wan.certificates import ec_key, key_id, load
from wan.cms import Recipient, Signer, Suite, Trust, source_of
from wan.cosem.media import Protection

_log = structlog.get_logger("wan")
_SUITES = {"GCM": Suite.GCM, "CBC-CMAC": Suite.CBC_CMAC}


class Partners:
    """Everything made of certificates: TLS contexts, watchers, CMS parties.

    Args:
        keys: the gateway's own keys.
        profile: of the device.
        keylog: file for TLS secrets, "" for none.
    """

    def __init__(self, keys: KeyRing, profile: Profile, keylog: str) -> None:
        self._keys = keys
        self._profile = profile
        self._keylog = keylog
        self._contexts: dict[tuple[bytes, int], TlsContext] = {}
        self.key_in_module = True

    @property
    def module(self) -> KeyModule:
        """The security module."""
        return self._keys.module

    def context(self, profile: WanProfile) -> TlsContext:
        """Return the TLS context towards a partner, with the active generation."""
        key = (profile.tls, self._keys.generation)
        found = self._contexts.get(key)
        if found is None:
            identity = module_identity(
                self.module,
                self._keys.slot(Purpose.TLS),
                self._keys.certificate(Purpose.TLS),
                (self._keys.sub_ca(self._keys.generation),),
            )
            found = client_context(
                self._profile.wan_tls.preset, identity, [profile.tls], keylog=self._keylog
            )
            self._contexts = {k: v for k, v in self._contexts.items() if k[1] == key[1]}
            self._contexts[key] = found
            self.key_in_module = found.key_in_module
        return found

    def limits(self, profile: WanProfile) -> Tls:
        """Return the TLS limits of a WAN profile (T40)."""
        return msgspec.structs.replace(
            self._profile.wan_tls, idle_s=profile.idle_s, max_session_s=profile.max_session_s
        )

    def watcher(self, profile: WanProfile, device_time: datetime | None) -> Watcher:
        """Return who looks at a handshake: the clock, and in strict mode the module."""
        validity = ValidityWatcher(lambda: device_time)
        if not self.module.strict:
            return validity
        strict = watcher_of(self.module, self.import_key(profile, Purpose.TLS))
        return Watchers(validity, strict) if strict is not None else validity

    def import_key(self, profile: WanProfile, purpose: Purpose) -> str:
        """Make sure the module knows a partner's public key; returns its name."""
        administrator = profile.role == "GWA"
        # names of the module are capitals and digits; a profile's name may be anything
        mark = hashlib.sha256(profile.name.encode()).hexdigest()[:12].upper()
        name = gwa_key(purpose) if administrator else f"EMT_{mark}_{purpose}_PUB"
        file = gwa_certificate(purpose) if administrator else f"EMT_{mark}_{purpose}_CRT"
        certificate = getattr(profile, purpose.lower())
        there = set(self.module.files())
        if file in there and self.module.read_file(file) == certificate:
            return name
        for old in (name, file):
            if old in there:
                self.module.delete(old)
        self.module.import_public_key(name, ec_key(load(certificate)))
        self.module.write_file(file, certificate)
        return name

    def adopt(self, administrator: WanProfile) -> None:
        """Let the module check wake-ups and messages of the administrator in charge."""
        for purpose in Purpose:
            try:
                self.import_key(administrator, purpose)
            except SecurityModuleError as error:
                _log.error("the administrator's key cannot be imported", cause=str(error))

    def protection(self, profile: WanProfile, receivers: Sequence[WanProfile] = ()) -> Protection:
        """Return content protection: signed by us, for the partner or other final receivers.

        Market participants get our signature certificate in the message: they know the PKI, not
        every gateway (Detailspezifikation v2.0 table 5.6: certificates may be there).
        """
        signer = self._keys.signer()
        if profile.role == "EMT" or receivers:
            carried = (self._keys.certificate(Purpose.SIG),)
            signer = Signer(signer.key_id, signer.sign, carried)
        trusted = {key_id(load(profile.sig)): Trust(profile.sig)} if profile.sig else {}
        recipients = [
            Recipient(key_id(load(item.enc)), ec_key(load(item.enc)))
            for item in (receivers or (profile,))
        ]
        return Protection(
            signer,
            trusted,
            self._keys.opener(),
            recipients,
            _SUITES[(receivers or (profile,))[0].suite],
            source_of(self.module) if self.module.strict else None,
        )
