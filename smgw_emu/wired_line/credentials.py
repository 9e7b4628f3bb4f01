"""Keys and certificates towards one wired meter.

Theory of operation (TR-03109-1 v1.0 3.3.2, 3.3.4.1, Annex B; DS v2.0 8.3, 9.3.1, 9.3.2). The
gateway makes both key pairs. Its own stays in the security module, one slot per meter; the meter's
is made here, given away and forgotten. Both certificates are self-signed and lie in the module as
files: they are what is trusted, bit by bit. A meter is paired when both files exist.

While a certificate is renewed the old one counts too: a file ``.._NEXT`` holds the new one until
the meter has shown it in a handshake.
"""

from __future__ import annotations

from datetime import datetime

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from hsm_sim import Curve
from hsm_sim.certificates import lmn_certificate, read_certificate
from hsm_sim.interface import KeyModule
from hsm_sim.randomness import new_key
from hsm_sim.slots import (
    lmn_certificate_file,
    lmn_key,
    lmn_master_key,
    meter_certificate_file,
)
from lmn.sym import Credentials, Quirk, SymCodec
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.ids import DeviceId
from smgw_emu.core.meter_counter import keep_counter, last_counter
from smgw_emu.core.store import Store
from smgw_emu.core.wan_profiles import LmnProfile
from smgw_emu.profiles import Profile
from smgw_emu.transport.presets import TlsContext, TlsIdentity, client_context, server_context
from smgw_emu.transport.tls import Watcher
from smgw_emu.transport.watchers import watcher_of

FRAGMENT_2048 = 3  # RFC 6066 code; DS v2.0 8.4 no. 3
_NEXT = "_NEXT"
_OTHER = "_B"  # the gateway's two slots per meter take turns


def _pairing(lmn: LmnProfile | None) -> tuple[str, str]:
    return ("", "") if lmn is None else (lmn.server_id, lmn.quirk)


class _ModuleRandom:
    """The module's generator as a source of keys: reproducible where the module is."""

    def __init__(self, module: KeyModule) -> None:
        self._module = module
        self.deterministic = module.deterministic

    def octets(self, count: int) -> bytes:
        return self._module.random(count)


class MeterCredentials:
    """One meter's keys in one gateway.

    Args:
        module: the security module.
        store: remembers transmission counters.
        gateway: id of the gateway.
        meter: key of the meter profile (lower-case id).
        lmn: its communication profile, if there is one.
        profile: form of the certificates, curve, role.
    """

    def __init__(
        self,
        module: KeyModule,
        store: Store,
        gateway: DeviceId,
        meter: str,
        lmn: LmnProfile | None,
        profile: Profile,
    ) -> None:
        self._module = module
        self._store = store
        self._gateway = gateway
        self.meter = meter
        self._lmn = lmn
        self._profile = profile
        self._made: Credentials | None = None

    # -- state -----------------------------------------------------------------------------

    def differs(self, lmn: LmnProfile | None) -> bool:
        """Tell whether another communication profile would pair otherwise."""
        return _pairing(self._lmn) != _pairing(lmn)

    @property
    def has_master_key(self) -> bool:
        """Whether the administrator has brought MK0."""
        return lmn_master_key(self.meter) in self._module.files()

    @property
    def paired(self) -> bool:
        """Whether both certificates are there."""
        names = {lmn_certificate_file(self.meter), meter_certificate_file(self.meter)}
        return names <= set(self._module.files())

    @property
    def last_counter(self) -> int:
        """The last authentic SYM counter of this meter."""
        return last_counter(self._store, self.meter) or 0

    def keep_counter(self, counter: int) -> None:
        """Remember a counter: it never goes back."""
        keep_counter(self._store, self.meter, counter)

    def codec(self) -> SymCodec:
        """Return the SYM codec.

        Raises:
            SecurityModuleError: no master key.
            RemoteProtocolError: the meter's id is no DIN 43863-5 id and no other one is configured.
        """
        key = self._module.read_file(lmn_master_key(self.meter))
        quirk = Quirk(self._lmn.quirk) if self._lmn is not None else Quirk.NONE
        padded = self._profile.lmn_wired.sym_padded
        return SymCodec(key, self.server_id, quirk, padded=padded)

    @property
    def server_id(self) -> bytes:
        """The id for key derivation: the profile's own, or the Server-ID (DS v2.0 8.4)."""
        if self._lmn is not None and self._lmn.server_id:
            return bytes.fromhex(self._lmn.server_id)
        try:
            return DeviceId.parse(self.meter).server_id
        except RemoteProtocolError:
            return bytes.fromhex(self.meter)

    # -- pairing ---------------------------------------------------------------------------

    def make(self, at: datetime) -> Credentials:
        """Make new keys and certificates for a pairing; nothing counts until :meth:`commit`."""
        certificate, key = self.make_for_meter(at)
        own = self._own_certificate(at)
        self._made = Credentials(certificate, key, own)
        return self._made

    def commit(self) -> None:
        """The meter has taken what :meth:`make` made."""
        assert self._made is not None
        self._module.write_file(meter_certificate_file(self.meter), self._made.meter_certificate)
        self._remove(meter_certificate_file(self.meter) + _NEXT)
        self.switch(self._made.gateway_certificate)
        self._made = None

    def make_for_meter(self, at: datetime) -> tuple[bytes, bytes]:
        """Return a new certificate of the meter and its private key (RFC 5915), DER."""
        curve = Curve(self._profile.lmn_wired.curve)
        key = new_key(_ModuleRandom(self._module), curve)

        def sign(digest: bytes) -> bytes:
            return key.sign(digest, ec.ECDSA(Prehashed(SHA256())))

        certificate = lmn_certificate(
            self.server_id[1:], key.public_key(), sign, at, self._name(self.meter)
        )
        private = key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        return certificate, private

    def _own_certificate(self, at: datetime) -> bytes:
        """Make a key in the slot that is not in use, and its certificate."""
        slot = lmn_key(self.meter) + self._spare
        if slot in self._module.slots():
            self._module.delete(slot)
        public = self._module.generate(slot, Curve(self._profile.lmn_wired.curve))
        return lmn_certificate(
            self._gateway.server_id[1:],
            public,
            lambda digest: self._module.sign_digest(slot, digest),
            at,
            self._name(self._gateway.lower),
        )

    def _name(self, device: str) -> str:
        return f"{device}.sm" if self._profile.lmn_wired.certificates == "v2" else ""

    # -- renewal ---------------------------------------------------------------------------

    def offer_meter_certificate(self, certificate: bytes) -> None:
        """From now on the meter may show this one too."""
        self._module.write_file(meter_certificate_file(self.meter) + _NEXT, certificate)

    def shown(self, certificate: bytes | None) -> bool:
        """Take note of the certificate of a handshake; True if it is the new one."""
        following = meter_certificate_file(self.meter) + _NEXT
        if following not in self._module.files() or certificate is None:
            return False
        if self._module.read_file(following) != certificate:
            return False
        self._module.write_file(meter_certificate_file(self.meter), certificate)
        self._remove(following)
        return True

    def renew_own(self, at: datetime) -> bytes:
        """Make the gateway's next key and certificate; the old ones count until :meth:`switch`."""
        return self._own_certificate(at)

    def switch(self, certificate: bytes) -> None:
        """The meter has taken the gateway's next certificate: one write, so a power cut is none."""
        self._module.write_file(lmn_certificate_file(self.meter), certificate)

    @property
    def _suffix(self) -> str:
        """The slot in use is the one whose key the certificate names."""
        module, name = self._module, lmn_certificate_file(self.meter)
        other = lmn_key(self.meter) + _OTHER
        if name not in module.files() or other not in module.slots():
            return ""
        shown = read_certificate(module.read_file(name)).public_key()
        return _OTHER if shown == module.public_key(other) else ""

    @property
    def _spare(self) -> str:
        return "" if self._suffix else _OTHER

    def forget(self) -> None:
        """The association is over: nothing of it stays but the master key."""
        names = [lmn_certificate_file(self.meter), meter_certificate_file(self.meter)]
        names += [meter_certificate_file(self.meter) + _NEXT]
        names += [lmn_key(self.meter), lmn_key(self.meter) + _OTHER, self._peer_key]
        for name in names:
            self._remove(name)

    def _remove(self, name: str) -> None:
        if name in {*self._module.files(), *self._module.slots()}:
            self._module.delete(name)

    # -- TLS -------------------------------------------------------------------------------

    def context(self, keylog: str = "") -> TlsContext:
        """Return the TLS context: own certificate, the meter's pinned.

        Raises:
            SecurityModuleError: not paired.
        """
        module, slot = self._module, lmn_key(self.meter) + self._suffix
        own = module.read_file(lmn_certificate_file(self.meter))
        identity = TlsIdentity(
            own,
            lambda digest: module.sign_digest(slot, digest),
            lambda: module.private_key_for_process(slot),
        )
        peers = [module.read_file(meter_certificate_file(self.meter))]
        following = meter_certificate_file(self.meter) + _NEXT
        if following in module.files():
            peers.append(module.read_file(following))
        preset = self._profile.lmn_tls.preset
        if self._profile.lmn_wired.tls_role == "server":
            return server_context(preset, identity, peers=peers, keylog=keylog)
        return client_context(preset, identity, peers, keylog=keylog, fragment_code=FRAGMENT_2048)

    def watcher(self) -> Watcher | None:
        """Return who looks at a handshake as a client: in strict mode the security module."""
        module, name = self._module, self._peer_key
        if not module.strict or self._profile.lmn_wired.tls_role == "server":
            return None
        self._remove(name)
        shown = read_certificate(module.read_file(meter_certificate_file(self.meter))).public_key()
        assert isinstance(shown, ec.EllipticCurvePublicKey)
        module.import_public_key(name, shown)
        return watcher_of(module, name)

    @property
    def _peer_key(self) -> str:
        return f"MTR_LMN_TLS_PUB_{self.meter.upper()}"
