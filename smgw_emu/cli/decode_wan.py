"""``smgw decode cms|wakeup|ntp|request``: what travels on the WAN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from smgw_emu.cli import EXIT_FAILED
from smgw_emu.core import der
from smgw_emu.core.errors import ConfigError, RemoteProtocolError

if TYPE_CHECKING:
    from wan.cms import Trust

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


def _print(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex("".join(text.split()))
    except ValueError as error:
        raise click.UsageError(f"not hex digits: {error}") from error


@click.command("cms", short_help="A CMS message; verified and opened if asked.")
@click.argument("file", type=click.File("rb"))
@click.option("--key", type=_FILE, help="Private key of the recipient's C_Enc (PEM).")
@click.option(
    "--certificate", type=_FILE, help="The recipient's C_Enc certificate (default: beside the key)."
)
@click.option("--signer", type=_FILE, multiple=True, help="Certificate the signature must be of.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the content there.")
def cms(
    file: BinaryIO,
    key: Path | None,
    certificate: Path | None,
    signer: tuple[Path, ...],
    out: Path | None,
) -> int:
    """Explain a CMS message (DER or PEM); with --key open it, with --signer verify it.

    Without --signer the signature is NOT verified, and the answer says so. Exit code 1 if a layer
    refuses.
    """
    data = _unwrap_pem(file.read())
    answer: dict[str, Any] = {}
    try:
        answer["structure"] = _structure(data)
        signed = _signed(data, signer, answer)
        content = signed[1] if key is None else _open(signed, key, certificate, answer)
    except RemoteProtocolError as error:
        answer["error"] = str(error)
        _print(answer)
        return EXIT_FAILED
    if out is not None:
        out.write_bytes(content)
        answer["written"] = str(out)
    elif key is not None:
        answer["content"] = content.decode("utf-8", "replace")
    _print(answer)
    return 0


def _unwrap_pem(data: bytes) -> bytes:
    import base64

    if not data.lstrip().startswith(b"-----"):
        return data
    lines = [line for line in data.split(b"\n") if line and not line.startswith(b"-----")]
    try:
        return base64.b64decode(b"".join(lines))
    except ValueError as error:
        raise ConfigError(f"damaged PEM: {error}") from error


def _structure(data: bytes) -> list[str]:
    """Return the object identifiers in the order they appear: a table of contents."""
    from wan.cms import oids

    names = {value: name for name, value in vars(oids).items() if isinstance(value, str)}
    found: list[str] = []

    def walk(element: der.Element) -> None:
        if element.tag == der.OID:
            found.append(names.get(element.oid(), element.oid()))
        for child in element.children:
            walk(child)

    walk(der.parse(data, ber=True))
    return found


def _signed(
    data: bytes, signers: tuple[Path, ...], answer: dict[str, Any]
) -> tuple[str, bytes, bytes]:
    from wan.cms import verify

    if signers:
        verified = verify(data, _trusted(signers))
        answer["signature"] = f"right, by {verified.signer.hex()}"
        return verified.content_type, verified.content, verified.signer
    answer["signature"] = "NOT VERIFIED (give --signer)"
    fields = der.Reader(der.parse(data, ber=True), "ContentInfo")
    fields.next()
    inner = fields.sequence("content", 0xA0).sequence("SignedData")
    inner.integer("version")
    inner.take(der.SET, "digestAlgorithms")
    info = inner.sequence("encapContentInfo")
    kind = info.oid("eContentType")
    content = info.sequence("eContent", 0xA0).take(der.OCTET_STRING, "eContent").octets()
    return kind, content, b""


def _trusted(signers: tuple[Path, ...]) -> dict[bytes, Trust]:
    from smgw_emu.bench.pki import der as certificate_der
    from wan.certificates import key_id, load
    from wan.cms import Trust

    loaded = [load(path.read_bytes()) for path in signers]
    return {key_id(item): Trust(certificate_der(item)) for item in loaded}


def _open(
    signed: tuple[str, bytes, bytes], key: Path, certificate: Path | None, answer: dict[str, Any]
) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from wan.certificates import ec_key, key_id, load
    from wan.cms import Opener
    from wan.cms.message import open_signed

    try:
        private = load_pem_private_key(key.read_bytes(), None)
        own = load((certificate or key.with_suffix(".pem")).read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"cannot use {key}: {error}") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{key} holds no EC key")
    opener = Opener(key_id(own), ec_key(own), lambda peer: private.exchange(ec.ECDH(), peer))
    opened = open_signed(signed[1], signed[2], opener, accept_standard=True)
    answer["suite"] = opened.suite.value
    answer["shared_info"] = opened.shared_info.value
    answer["compressed"] = opened.compressed
    answer["octets"] = len(opened.content)
    return opened.content


@click.command("wakeup", short_help="A wake-up packet given in hex.")
@click.argument("packet")
@click.option("--signer", type=_FILE, help="GWA_WAN_SIG_CRT to verify with.")
def wakeup(packet: str, signer: Path | None) -> int:
    """Explain a wake-up packet given in hex; with --signer verify it."""
    from smgw_emu.core.instants import DeviceTime
    from wan.wakeup import ByteOrder, decode

    data = _hex(packet)
    try:
        found = decode(data)
    except RemoteProtocolError as error:
        click.echo(f"smgw: {error}", err=True)
        return EXIT_FAILED
    device = found.device()

    def moment(order: ByteOrder) -> str:
        (seconds,) = found.times(order)
        try:
            return DeviceTime.from_seconds(seconds).iso()
        except (OverflowError, ValueError):
            return f"{seconds} s, far outside the calendar"

    _print(
        {
            "octets": len(data),
            "version": 1,
            "recipient": str(device) if device else found.recipient.hex(),
            "time_little_endian": moment(ByteOrder.LITTLE),
            "time_big_endian": moment(ByteOrder.BIG),
            "padding_ok": found.padding == b"\x0b" * 12,
            "signature_format": found.signature_format,
            "algorithm": der.oid_text(found.oid) if found.oid else "",
            "r": found.signature[: len(found.signature) // 2].hex(),
            "s": found.signature[len(found.signature) // 2 :].hex(),
            "signature": _wakeup_signature(data, found.signature, signer),
        }
    )
    return 0


def _wakeup_signature(data: bytes, signature: bytes, signer: Path | None) -> str:
    if signer is None:
        return "NOT VERIFIED (give --signer)"
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    from wan.certificates import ec_key, load

    half = len(signature) // 2
    numbers = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
    try:
        ec_key(load(signer.read_bytes())).verify(
            encode_dss_signature(*numbers), data[:32], ec.ECDSA(hashes.SHA256())
        )
    except InvalidSignature:
        return "WRONG"
    return "right"


@click.command("ntp", short_help="An NTP header given in hex.")
@click.argument("packet")
def ntp(packet: str) -> int:
    """Explain a 48-octet NTP header given in hex."""
    from smgw_emu.core.instants import DeviceTime
    from wan.ntp import decode

    try:
        found = decode(_hex(packet))
    except RemoteProtocolError as error:
        click.echo(f"smgw: {error}", err=True)
        return EXIT_FAILED
    near = 1_900_000_000 * 10**9
    names = ("reference", "origin", "receive", "transmit")
    times = {name: DeviceTime(getattr(found, name).ns(near)).iso() for name in names}
    _print(
        {
            "leap": found.leap,
            "version": found.version,
            "mode": found.mode,
            "stratum": found.stratum,
            "poll": found.poll,
            "precision": found.precision,
            "max_error_ms": found.max_error_ns / 1e6,
            **times,
        }
    )
    return 0


@click.command("request", short_help="A certificate request package (CRMF).")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--signer", type=_FILE, multiple=True, help="Certificates its outer signatures must be of."
)
def request(file: BinaryIO, signer: tuple[Path, ...]) -> int:
    """Explain a certificate request package (CRMF triple) and check its proofs of possession.

    A renewal or an authorised request needs --signer for each signature around it.
    """
    from hsm_sim.certificates import subject_key_identifier
    from wan.requests import parse, subject_text

    try:
        trusted = _trusted(signer)
        package = parse(file.read(), trusted, trusted)
    except RemoteProtocolError as error:
        click.echo(f"smgw: {error}", err=True)
        return EXIT_FAILED
    _print(
        [
            {
                "purpose": item.purpose.value,
                "subject": subject_text(item.subject),
                "key": subject_key_identifier(item.public_key).hex(),
                "proof_of_possession": "right",
            }
            for item in package.triple
        ]
    )
    return 0
