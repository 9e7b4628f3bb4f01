"""What a participant of the SM-PKI holds: a triple of certificates, and its keys if made here."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from hsm_sim import Purpose
from hsm_sim.curves import DIGESTS
from wan.certificates import ec_key, key_id
from wan.cms import Opener, Recipient, Signer, Trust


def der(certificate: x509.Certificate) -> bytes:
    """Return a certificate in DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def pem(*certificates: x509.Certificate) -> bytes:
    """Return certificates in PEM, in this order."""
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in certificates)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its chain and, if the key was made here, the private key.

    Attributes:
        certificate: the end entity's.
        chain: issuers, the Sub-CA first, without the root.
        key: None where the key lies in a security module.
    """

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey | None = None

    def __repr__(self) -> str:
        return f"Identity({self.certificate.subject.rfc4514_string()!r})"

    @property
    def certificate_der(self) -> bytes:
        """The certificate in DER."""
        return der(self.certificate)

    @property
    def chain_pem(self) -> bytes:
        """Leaf and issuers in PEM, leaf first."""
        return pem(self.certificate, *self.chain)

    def private(self) -> ec.EllipticCurvePrivateKey:
        """Return the private key.

        Raises:
            ValueError: it was not made here.
        """
        if self.key is None:
            raise ValueError("the key of this identity lies in a security module")
        return self.key

    def key_pem(self) -> bytes:
        """Return the private key as PKCS#8 PEM, unencrypted."""
        return self.private().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def sign_digest(self, digest: bytes) -> bytes:
        """Return the DER signature over a digest of 32, 48 or 64 octets."""
        return self.private().sign(digest, ec.ECDSA(Prehashed(DIGESTS[len(digest)])))


@dataclass(frozen=True, slots=True)
class Participant:
    """A participant's triple.

    Attributes:
        name: common name.
        tls: TLS identity.
        sig: content signature identity.
        enc: content encryption identity.
    """

    name: str
    tls: Identity
    sig: Identity
    enc: Identity

    def identity(self, purpose: Purpose) -> Identity:
        """Return one of the three."""
        return {Purpose.TLS: self.tls, Purpose.SIG: self.sig, Purpose.ENC: self.enc}[purpose]

    def signer(self, *, with_certificate: bool = False) -> Signer:
        """Return this participant as the signer of CMS messages."""
        carried = (self.sig.certificate_der,) if with_certificate else ()
        return Signer(key_id(self.sig.certificate), self.sig.sign_digest, carried)

    def trust(self) -> dict[bytes, Trust]:
        """Return this participant as a configured signer."""
        chain = tuple(der(item) for item in self.sig.chain)
        return {key_id(self.sig.certificate): Trust(self.sig.certificate_der, chain)}

    def recipient(self) -> Recipient:
        """Return this participant as a recipient of CMS messages."""
        return Recipient(key_id(self.enc.certificate), ec_key(self.enc.certificate))

    def opener(self) -> Opener:
        """Return this participant as a reader of CMS messages."""
        key = self.enc.private()
        return Opener(
            key_id(self.enc.certificate),
            ec_key(self.enc.certificate),
            lambda peer: key.exchange(ec.ECDH(), peer),
        )
