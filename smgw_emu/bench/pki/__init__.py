"""A test SM-PKI as small as trustme: Root, Sub-CA, triples for SMGW, GWA, EMT and GWH, CRLs.

Everything issued lies below a hierarchy of its own (test or Wirk) and carries the Netscape comment
``TEST - smgw-emu``::

    pki = TestPki()
    gwa = pki.participant(Role.GWA, "gwa1")      # gwa.tls.certificate, gwa.tls.key_pem(), ...
    pki.revoke(gwa.tls.certificate)
    lists = pki.revocation_lists()
"""

from smgw_emu.bench.pki.authority import Hierarchy, RequestRefusedError, TestPki
from smgw_emu.bench.pki.consumer import ConsumerKey, issue_consumer_key
from smgw_emu.bench.pki.participants import Identity, Participant, der
from smgw_emu.bench.pki.profile import Role

__all__ = [
    "ConsumerKey",
    "Hierarchy",
    "Identity",
    "Participant",
    "RequestRefusedError",
    "Role",
    "TestPki",
    "der",
    "issue_consumer_key",
]
