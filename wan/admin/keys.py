"""The gateway's own WAN keys and certificates: generations, requests, the switch.

Theory of operation (TR-03109-1 v1.0 3.2.2 WAF1; H03, H24, W25). Generation 0 is the Guetesiegel
set; each change makes the next one. Keys are made, the administrator takes the request, brings the
certificates; when all three are checked and stored, one write of the store makes the new set the
active one. Whatever is cut off before that leaves the old set complete. Old sets stay: values they
signed must stay checkable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime

from cryptography import x509

from hsm_sim import Curve, Purpose, SecurityModuleError
from hsm_sim.certificates import spki, subject_key_identifier
from hsm_sim.interface import KeyModule
from hsm_sim.slots import SEAL, wan_certificate, wan_key
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.store import Store
from wan import requests
from wan.certificates import (
    CertificateError,
    check_path,
    check_use,
    check_validity,
    common_name,
    ec_key,
    load,
)
from wan.cms import Opener, Signer

SUB_CA, ROOT = "SUB_CA_CRT", "ROOT_CRT"
_GENERATION = "wan_generation"


def sub_ca_file(generation: int) -> str:
    """Return the module's file with the Sub-CA of a generation."""
    return f"{SUB_CA}_{generation}"


class KeyRing:
    """The generations of one gateway.

    Args:
        module: the security module.
        store: remembers the active generation.
    """

    def __init__(self, module: KeyModule, store: Store) -> None:
        self.module = module
        self._store = store
        self.on_switch: Callable[[], None] = lambda: None

    @property
    def generation(self) -> int:
        """The active set; 0 is the Guetesiegel."""
        return int(self._store.get_meta(_GENERATION) or SEAL)

    def slot(self, purpose: Purpose) -> str:
        """Return the active key's slot."""
        return wan_key(purpose, self.generation)

    def certificate(self, purpose: Purpose, generation: int | None = None) -> bytes:
        """Return a certificate, DER; default: the active one.

        Raises:
            SecurityModuleError: that set does not exist.
        """
        number = self.generation if generation is None else generation
        return self.module.read_file(wan_certificate(purpose, number))

    def sub_ca(self, generation: int) -> bytes:
        """Return the issuer of a generation's certificates, DER."""
        return self.module.read_file(sub_ca_file(generation))

    def generations(self) -> list[int]:
        """Return the complete sets, oldest first."""
        files = set(self.module.files())
        return [
            number
            for number in range(self.generation + 1)
            if files.issuperset(wan_certificate(purpose, number) for purpose in Purpose)
        ]

    # -- the active set as CMS parties -------------------------------------------------------

    def signer(self) -> Signer:
        """Return the active C_Sig as signer."""
        slot = self.slot(Purpose.SIG)
        key_id = subject_key_identifier(self.module.public_key(slot))
        return Signer(key_id, lambda digest: self.module.sign_digest(slot, digest))

    def opener(self) -> Opener:
        """Return the active C_Enc as reader."""
        slot = self.slot(Purpose.ENC)
        key = self.module.public_key(slot)
        return Opener(subject_key_identifier(key), key, lambda peer: self.module.agree(slot, peer))

    # -- a new set ---------------------------------------------------------------------------

    def generate(self) -> int:
        """Make the keys of the next generation, in place of any that never got certificates."""
        number = self.generation + 1
        names = [wan_key(purpose, number) for purpose in Purpose]
        names += [wan_certificate(purpose, number) for purpose in Purpose]
        there = {*self.module.slots(), *self.module.files()}
        for name in names:
            if name in there:
                self.module.delete(name)
        for purpose in Purpose:
            self.module.generate(wan_key(purpose, number), Curve.BRAINPOOL_P256)
        return number

    def request(self) -> bytes:
        """Return the request for the next generation, signed with the active C_Sig.

        Raises:
            ConfigError: no keys were made.
        """
        number = self.generation + 1
        if not set(self.module.slots()).issuperset(wan_key(p, number) for p in Purpose):
            raise ConfigError("no new keys: generate_key_pair comes first")
        active = load(self.certificate(Purpose.SIG))
        name = requests.subject_name(
            common_name(active), requests.organisation(active), str(number + 1)
        )

        def key(purpose: Purpose) -> requests.KeyToCertify:
            slot = wan_key(purpose, number)
            return requests.KeyToCertify(
                self.module.public_key(slot), lambda digest: self.module.sign_digest(slot, digest)
            )

        initial = requests.build(name, {purpose: key(purpose) for purpose in Purpose})
        return requests.renew(initial, self.signer())

    def install(self, documents: Sequence[bytes], at: datetime | None) -> int:
        """Check the certificates of the next generation, store them and make it active.

        The caller holds the store's transaction.

        Args:
            documents: TLS, SIG, ENC in any order, then issuers.
            at: device time; None: not valid, then validity periods cannot be checked.

        Raises:
            ConfigError: names the certificate and the reason.
        """
        number = self.generation + 1
        triple, issuer = self._match(documents, number)
        for purpose, certificate in triple.items():
            self._check(purpose, certificate, issuer, at)
        try:
            for purpose, certificate in triple.items():
                self._write(wan_certificate(purpose, number), certificate)
            self._write(sub_ca_file(number), issuer)
        except SecurityModuleError as error:
            raise ConfigError(f"the security module refuses: {error}") from error
        self._store.set_meta(_GENERATION, str(number))
        return number

    def _write(self, name: str, certificate: x509.Certificate) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding

        self.module.write_file(name, certificate.public_bytes(Encoding.DER))

    def _match(
        self, documents: Sequence[bytes], number: int
    ) -> tuple[dict[Purpose, x509.Certificate], x509.Certificate]:
        """Sort certificates by the keys they fit."""
        slots = set(self.module.slots())
        keys = {
            spki(self.module.public_key(wan_key(purpose, number))): purpose
            for purpose in Purpose
            if wan_key(purpose, number) in slots
        }
        triple: dict[Purpose, x509.Certificate] = {}
        issuers: list[x509.Certificate] = []
        for document in documents:
            try:
                certificate = load(document)
                purpose = keys.get(spki(ec_key(certificate)))
            except CertificateError as error:
                raise ConfigError(str(error)) from error
            if purpose is None:
                issuers.append(certificate)
            else:
                triple[purpose] = certificate
        missing = [purpose for purpose in Purpose if purpose not in triple]
        if missing:
            raise ConfigError(f"no certificate for the new {', '.join(missing)} key")
        if len(issuers) != 1:
            raise ConfigError("exactly one issuer (Sub-CA) belongs to the three certificates")
        return triple, issuers[0]

    def _check(
        self,
        purpose: Purpose,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        at: datetime | None,
    ) -> None:
        wanted = common_name(load(self.certificate(purpose)))
        if common_name(certificate) != wanted:
            raise ConfigError(f"certificate {common_name(certificate)!r} is not for {wanted!r}")
        try:
            check_use(certificate, purpose)
            root = load(self.module.read_file(ROOT))
            # without valid time only the periods stay unchecked (TR-03109-1 v1.0 3.2.6.3.4)
            check_path(certificate, [issuer], root, at or certificate.not_valid_before_utc)
        except (CertificateError, SecurityModuleError) as error:
            raise ConfigError(str(error)) from error

    def destroy(self) -> None:
        """Delete every WAN key; certificates stay, they check what was signed (GW-31)."""
        there = set(self.module.slots())
        for number in range(self.generation + 2):
            for purpose in Purpose:
                if wan_key(purpose, number) in there:
                    self.module.delete(wan_key(purpose, number))

    # -- watching ----------------------------------------------------------------------------

    def expiries(self) -> dict[str, datetime]:
        """Return the ends of the active certificates by name."""
        return {
            f"SMGW {purpose}": load(self.certificate(purpose)).not_valid_after_utc
            for purpose in Purpose
        }


def check_partner(name: str, certificate: bytes, purpose: Purpose, at: datetime | None) -> None:
    """Check a partner's certificate when its profile is put in.

    Raises:
        ConfigError: not a certificate, for another use, or not valid now.
    """
    try:
        found = load(certificate)
        check_use(found, purpose)
        if at is not None:
            check_validity(found, at)
    except CertificateError as error:
        raise ConfigError(f"{name}: {error}") from error


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of a certificate in hex."""
    return hashlib.sha256(certificate).hexdigest()
