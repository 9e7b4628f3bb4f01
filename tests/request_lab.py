"""Certificate requests for tests."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from hsm_sim import Purpose
from wan.requests import KeyToCertify, authorise, build, renew, subject_name


def new_request(name: str) -> bytes:
    """Return an initial request with keys made here."""

    def key() -> KeyToCertify:
        made = ec.generate_private_key(ec.BrainpoolP256R1())
        prehashed = ec.ECDSA(Prehashed(hashes.SHA256()))
        return KeyToCertify(made.public_key(), lambda digest: made.sign(digest, prehashed))

    subject = subject_name(name, "SM-Test-PKI-DE")
    return build(subject, {purpose: key() for purpose in Purpose})


def renewal_and_request(smgw, gwa) -> tuple[bytes, bytes]:
    """Return an initial request, and a renewal authorised by the administrator."""
    renewal = renew(new_request(smgw.name), smgw.signer())
    return new_request(smgw.name), authorise(renewal, gwa.signer())
