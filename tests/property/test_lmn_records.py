"""TLS records as I frames (LMN-N03, L11): none longer than 2034 octets, whatever the certificates."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from support import START, world
from wired_lab import PROFILE, RULES

from smgw_emu.transport.presets import TlsIdentity, client_context, server_context
from smgw_emu.transport.tls import Data, Established, TlsConnection
from smgw_emu.wired_line.credentials import FRAGMENT_2048
from smgw_emu.wired_line.records import RecordPacker

NOW = world(START)
LIMIT = RULES.send_information


def identity(size: int) -> TlsIdentity:
    """A self-signed certificate with so much in it, made by `cryptography`."""
    key = ec.generate_private_key(ec.BrainpoolP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TEST")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW.datetime())
        .not_valid_after(NOW.datetime() + dt.timedelta(days=100))
        .add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(size)),
            critical=False,
        )
    )
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    kinds = {32: hashes.SHA256(), 48: hashes.SHA384(), 64: hashes.SHA512()}
    return TlsIdentity(
        certificate,
        lambda digest: key.sign(digest, ec.ECDSA(Prehashed(kinds[len(digest)]))),
        lambda: key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


@pytest.mark.req("L11")
@pytest.mark.req("LMN-N03")
@pytest.mark.parametrize("fragment", [0, FRAGMENT_2048])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("size", [10, 1200, 2000, 6000])
def test_a_handshake_with_big_certificates_fits_the_frames(size, packed, fragment):
    """TLS fragmentation of handshake records, both ways; then data in records that fit."""
    ours, theirs = identity(size), identity(size)
    preset = PROFILE.lmn_tls.preset
    client = client_context(preset, ours, [theirs.certificate], fragment_code=fragment)
    server = server_context(preset, theirs, peers=[ours.certificate])
    ends = [
        TlsConnection(client.context, PROFILE.lmn_tls, NOW, server_side=False),
        TlsConnection(server.context, PROFILE.lmn_tls, NOW),
    ]
    packers = [RecordPacker(LIMIT, packed=packed) for _ in ends]
    got: list[bytes] = [b"", b""]
    established = [0, 0]
    lengths = []

    def exchange() -> None:
        for _ in range(12):
            for here, there in ((0, 1), (1, 0)):
                for piece in packers[here].pack(ends[here].output()):
                    lengths.append(len(piece))
                    for event in ends[there].receive(piece, NOW):
                        established[there] += isinstance(event, Established)
                        got[there] += event.data if isinstance(event, Data) else b""

    ends[0].start(NOW)
    exchange()
    assert established == [1, 1]
    data = bytes(range(256)) * 40
    for number, end in enumerate(ends):
        for start in range(0, len(data), PROFILE.lmn_wired.plaintext):
            assert not end.send(data[start : start + PROFILE.lmn_wired.plaintext], NOW), number
    exchange()
    assert got == [data, data]
    assert max(lengths) <= LIMIT
    assert ends[0].hello is not None
    assert (1 in ends[0].hello.extensions) is bool(fragment)


record = st.tuples(st.sampled_from([20, 21, 22, 23]), st.binary(max_size=5000))


@given(st.lists(record, max_size=8), st.integers(100, 3000), st.booleans())
def test_pieces_are_the_stream_but_for_the_cuts_of_handshakes(records, limit, packed):
    """Naive model: what comes out is the same messages in the same order."""
    stream = b"".join(
        bytes((kind, 3, 3)) + len(body).to_bytes(2, "big") + body for kind, body in records
    )
    pieces = RecordPacker(limit, packed=packed).pack(stream)

    def messages(octets: bytes) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        position = 0
        while position < len(octets):
            kind, length = (
                octets[position],
                int.from_bytes(octets[position + 3 : position + 5], "big"),
            )
            body = octets[position + 5 : position + 5 + length]
            if found and found[-1][0] == kind == 22:
                found[-1] = (kind, found[-1][1] + body)
            elif body or kind != 22:
                found.append((kind, body))
            position += 5 + length
        return found

    assert messages(b"".join(pieces)) == messages(stream)
    encrypted = False
    for kind, body in messages(stream):
        encrypted |= kind == 20
        if not encrypted and kind != 22 and len(body) + 5 > limit:
            return  # an alert of that length does not exist
    if not encrypted:
        assert all(len(piece) <= limit for piece in pieces) or any(k == 23 for k, _ in records)
