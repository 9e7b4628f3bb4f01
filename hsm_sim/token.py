"""A PKCS#11 token as security module, for instance SoftHSM2 (extra ``pkcs11``).

Private keys are made in the token as sensitive and not extractable; signatures and key agreements
are its work. Certificates and public keys lie as files beside it. There is no APDU log to speak
of: each call is one entry with the PKCS#11 function's name.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from hsm_sim.curves import (
    CURVE_BY_OID,
    CURVE_OIDS,
    DIGESTS,
    Curve,
    SecurityModuleError,
    curve_of,
    point_octets,
    public_key,
)
from hsm_sim.log import ApduLog
from hsm_sim.memory import Memory
from smgw_emu.core.der import oid, oid_text, parse


class TokenModule:
    """A token behind the interface of :class:`hsm_sim.interface.KeyModule`.

    Args:
        library: path of the PKCS#11 module.
        token: label of the token.
        pin_file: holds the user PIN.
        directory: for certificates and public keys.
        strict: ephemeral pairs of CMS come from the token.

    Raises:
        SecurityModuleError: the extra is not installed, or the token refuses.
    """

    deterministic = False

    def __init__(
        self, library: str, token: str, pin_file: Path, directory: Path, *, strict: bool = False
    ) -> None:
        try:
            import pkcs11
        except ImportError as error:
            raise SecurityModuleError(
                "PKCS#11 needs the extra: pip install smgw-emu[pkcs11]"
            ) from error
        self._p11: Any = pkcs11
        self.strict = strict
        self.log = ApduLog()
        self._files = Memory(directory)
        try:
            pin = pin_file.read_text("ascii").strip()
            found = pkcs11.lib(library).get_token(token_label=token)
            self._session: Any = found.open(rw=True, user_pin=pin)
        except OSError as error:
            raise SecurityModuleError(f"cannot read {pin_file}: {error.strerror}") from error
        except (pkcs11.PKCS11Error, RuntimeError) as error:
            reason = str(error) or type(error).__name__
            raise SecurityModuleError(f"token {token!r} in {library!r}: {reason}") from error

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def power_off(self) -> None:
        """The token is another machine's: its session stays."""

    @property
    def life_cycle(self) -> str:
        """A token knows no states of its own."""
        return "token"

    # -- keys --------------------------------------------------------------------------------

    def slots(self) -> list[str]:
        """Return the labels of the private keys."""
        attribute = self._p11.Attribute
        query = {attribute.CLASS: self._p11.ObjectClass.PRIVATE_KEY}
        return sorted(key.label for key in self._session.get_objects(query))

    def generate(self, slot: str, curve: Curve) -> ec.EllipticCurvePublicKey:
        """Make a key pair in an empty slot.

        Raises:
            SecurityModuleError: the slot is in use, or the token cannot do this curve.
        """
        if slot in self.slots():
            raise SecurityModuleError(f"key slot {slot} is in use")
        p11 = self._p11
        try:
            parameters = self._session.create_domain_parameters(
                p11.KeyType.EC, {p11.Attribute.EC_PARAMS: oid(CURVE_OIDS[curve])}, local=True
            )
            parameters.generate_keypair(store=True, label=slot)
        except p11.PKCS11Error as error:
            raise SecurityModuleError(f"the token makes no key on {curve}: {error!r}") from error
        return self.public_key(slot)

    def public_key(self, slot: str) -> ec.EllipticCurvePublicKey:
        """Return the public key of a slot.

        Raises:
            SecurityModuleError: empty slot.
        """
        p11 = self._p11
        key = self._get(p11.ObjectClass.PUBLIC_KEY, slot)
        curve = CURVE_BY_OID[oid_text(parse(key[p11.Attribute.EC_PARAMS]).content)]
        return public_key(curve, parse(key[p11.Attribute.EC_POINT]).content)

    def delete(self, name: str) -> None:
        """Delete a key or a file.

        Raises:
            SecurityModuleError: there is none.
        """
        attribute = self._p11.Attribute
        found = list(self._session.get_objects({attribute.LABEL: name}))
        for item in found:
            item.destroy()
        if not self._files.delete(name) and not found:
            raise SecurityModuleError(f"key slot {name} is empty")

    def _get(self, kind: Any, slot: str) -> Any:
        p11 = self._p11
        try:
            return self._session.get_key(object_class=kind, label=slot)
        except p11.PKCS11Error as error:
            raise SecurityModuleError(f"key slot {slot} is empty") from error

    # -- operations --------------------------------------------------------------------------

    def sign_digest(self, slot: str, digest: bytes) -> bytes:
        """Return the DER signature over a digest.

        Raises:
            SecurityModuleError: another digest length, or the slot is empty.
        """
        if len(digest) not in DIGESTS:
            raise SecurityModuleError(f"no digest of {len(digest)} octets")
        p11 = self._p11
        # C_Sign with CKM_ECDSA takes no more than the order has; ECDSA would cut it anyway
        size = (self.public_key(slot).curve.key_size + 7) // 8
        plain = self._get(p11.ObjectClass.PRIVATE_KEY, slot).sign(
            digest[:size], mechanism=p11.Mechanism.ECDSA
        )
        half = len(plain) // 2
        numbers = (int.from_bytes(part, "big") for part in (plain[:half], plain[half:]))
        return encode_dss_signature(*numbers)

    def sign_plain(self, slot: str, message: bytes) -> bytes:
        """Return r||s over the SHA-256 of a message."""
        digest = hashes.Hash(hashes.SHA256())
        digest.update(message)
        r, s = decode_dss_signature(self.sign_digest(slot, digest.finalize()))
        size = (self.public_key(slot).curve.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def agree(self, slot: str, peer: ec.EllipticCurvePublicKey) -> bytes:
        """Return the x-coordinate of the shared point."""
        return self._derive(self._get(self._p11.ObjectClass.PRIVATE_KEY, slot), peer)

    def agree_ephemeral(self, peer: ec.EllipticCurvePublicKey) -> tuple[bytes, bytes]:
        """Return (own ephemeral point, x-coordinate); the pair is a session object."""
        p11 = self._p11
        parameters = self._session.create_domain_parameters(
            p11.KeyType.EC, {p11.Attribute.EC_PARAMS: oid(CURVE_OIDS[curve_of(peer)])}, local=True
        )
        public, private = parameters.generate_keypair(store=False)
        point = parse(public[p11.Attribute.EC_POINT]).content
        shared = self._derive(private, peer)
        for item in (public, private):
            item.destroy()
        return point, shared

    def _derive(self, private: Any, peer: ec.EllipticCurvePublicKey) -> bytes:
        p11 = self._p11
        size = (peer.curve.key_size + 7) // 8
        secret = private.derive_key(
            p11.KeyType.GENERIC_SECRET,
            size * 8,
            mechanism=p11.Mechanism.ECDH1_DERIVE,
            mechanism_param=(p11.KDF.NULL, None, point_octets(peer)),
            template={p11.Attribute.SENSITIVE: False, p11.Attribute.EXTRACTABLE: True},
        )
        value: bytes = secret[p11.Attribute.VALUE]
        secret.destroy()
        return value.rjust(size, b"\x00")

    def import_public_key(self, name: str, key: ec.EllipticCurvePublicKey) -> None:
        """Keep a public key to verify with."""
        self._files.write_file(
            name,
            key.public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
        )

    def verify(self, name: str, digest: bytes, signature: bytes) -> bool:
        """Tell whether a DER signature verifies with an imported public key (in the process).

        Raises:
            SecurityModuleError: no such key.
        """
        key = serialization.load_der_public_key(self.read_file(name))
        if not isinstance(key, ec.EllipticCurvePublicKey) or len(digest) not in DIGESTS:
            return False
        try:
            key.verify(signature, digest, ec.ECDSA(Prehashed(DIGESTS[len(digest)])))
        except InvalidSignature:
            return False
        return True

    def random(self, octets: int) -> bytes:
        """Return random octets of the token."""
        data: bytes = self._session.generate_random(octets * 8)
        return data if len(data) == octets else secrets.token_bytes(octets)

    def files(self) -> list[str]:
        """Return the names of the files."""
        return self._files.file_names()

    def write_file(self, name: str, data: bytes) -> None:
        """Store a file."""
        self._files.write_file(name, data)

    def read_file(self, name: str) -> bytes:
        """Return a file.

        Raises:
            SecurityModuleError: there is none.
        """
        data = self._files.read_file(name)
        if data is None:
            raise SecurityModuleError(f"file {name} is not in the module")
        return data

    def check(self, slots: tuple[str, ...]) -> None:
        """Sign and verify with each slot.

        Raises:
            SecurityModuleError: a slot is empty or computes wrongly.
        """
        for slot in slots:
            digest = self.random(32)
            signature = self.sign_digest(slot, digest)
            try:
                self.public_key(slot).verify(
                    signature, digest, ec.ECDSA(Prehashed(hashes.SHA256()))
                )
            except InvalidSignature as error:
                raise SecurityModuleError(f"key slot {slot} computes wrongly") from error

    def private_key_for_process(self, slot: str) -> bytes:
        """Refuse: keys of a token cannot be read.

        Raises:
            SecurityModuleError: always.
        """
        raise SecurityModuleError(f"the key in {slot} cannot leave the token")
