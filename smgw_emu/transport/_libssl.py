"""What the standard ``ssl`` module lacks (crypto.md 4.4, 5); ``_ephemeral`` is the other half.

Reaches the ``SSL_CTX`` behind an ``ssl.SSLContext`` (first pointer after the object header of
CPython's struct; verified on CPython 3.9 to 3.13) and calls libssl through ``_ssl`` itself, so that
it is always the library ``ssl`` uses. :func:`check` proves it works before anything relies on it.

References held in ``_KEEP`` must live as long as the context: libssl calls back into them.
"""

from __future__ import annotations

import _ssl
import contextlib
import ctypes
import ssl
import weakref
from collections.abc import Callable
from typing import Any

from smgw_emu.core.errors import SmgwError

_CTRL_SET_SESS_CACHE_MODE = 44
_CTRL_SET_GROUPS_LIST = 92
_CTRL_SET_SIGALGS_LIST = 98
_CTRL_SET_CLIENT_SIGALGS_LIST = 102
_SESS_CACHE_OFF = 0
_VERIFY_PEER = 1

_VERIFY_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
_SIGN_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint),
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
)

_KEEP: weakref.WeakKeyDictionary[ssl.SSLContext, list[Any]] = weakref.WeakKeyDictionary()


class LibsslError(SmgwError):
    """libssl refused a setting, or this Python cannot reach it."""


def _open() -> ctypes.CDLL:
    """Open the library behind ``ssl`` and declare every function used (pointer-size types)."""
    library = ctypes.CDLL(getattr(_ssl, "__file__", None))
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name, result, *arguments in (
        ("SSL_CTX_ctrl", ctypes.c_long, pointer, number, ctypes.c_long, pointer),
        ("ERR_clear_error", None),
        ("SSL_CTX_set_tlsext_max_fragment_length", number, pointer, ctypes.c_uint8),
        ("SSL_CTX_set_verify", None, pointer, number, _VERIFY_CALLBACK),
        ("SSL_CTX_use_certificate_chain_file", number, pointer, text),
        ("SSL_CTX_use_PrivateKey", number, pointer, pointer),
        ("SSL_CTX_check_private_key", number, pointer),
        ("d2i_X509", pointer, pointer, ctypes.POINTER(text), ctypes.c_long),
        ("X509_free", None, pointer),
        ("X509_get_pubkey", pointer, pointer),
        ("EVP_PKEY_get1_EC_KEY", pointer, pointer),
        ("EVP_PKEY_new", pointer),
        ("EVP_PKEY_set1_EC_KEY", number, pointer, pointer),
        ("EVP_PKEY_free", None, pointer),
        ("EC_KEY_dup", pointer, pointer),
        ("EC_KEY_free", None, pointer),
        ("EC_KEY_OpenSSL", pointer),
        ("EC_KEY_METHOD_new", pointer, pointer),
        ("EC_KEY_METHOD_get_sign", None, pointer, pointer, pointer, pointer),
        ("EC_KEY_METHOD_set_sign", None, pointer, _SIGN_CALLBACK, pointer, pointer),
        ("EC_KEY_set_method", number, pointer, pointer),
    ):
        function = getattr(library, name, None)
        if function is not None:  # a later libssl may lack the calls of the key bridge
            function.restype, function.argtypes = result, arguments
    return library


try:
    _LIB: ctypes.CDLL | None = _open()
except OSError:
    _LIB = None


def library(*names: str) -> ctypes.CDLL:
    """Return the library if it has the named functions.

    Raises:
        LibsslError: it cannot be reached, or lacks one.
    """
    missing = [name for name in names if not hasattr(_LIB, name)]
    if _LIB is None or missing:
        raise LibsslError(
            f"this Python's libssl cannot be used: {', '.join(missing) or 'no library'}"
        )
    return _LIB


def _pointer(context: ssl.SSLContext) -> int:
    address = id(context) + object.__basicsize__
    return ctypes.c_void_p.from_address(address).value or 0


def _control(context: ssl.SSLContext, command: int, text: str) -> None:
    lib = library("SSL_CTX_ctrl")
    if lib.SSL_CTX_ctrl(_pointer(context), command, 0, text.encode("ascii")) != 1:
        lib.ERR_clear_error()  # CPython would take a queued error for its next call's own
        raise LibsslError(f"libssl refused the list {text!r}")


def set_groups(context: ssl.SSLContext, groups: str) -> None:
    """Set the colon-separated list of curves, also the curves allowed in certificates."""
    _control(context, _CTRL_SET_GROUPS_LIST, groups)


def set_signature_algorithms(context: ssl.SSLContext, algorithms: str) -> None:
    """Set the handshake signature algorithms, both ours and those asked of clients."""
    _control(context, _CTRL_SET_SIGALGS_LIST, algorithms)
    if context.protocol == ssl.PROTOCOL_TLS_SERVER:
        _control(context, _CTRL_SET_CLIENT_SIGALGS_LIST, algorithms)


def disable_session_cache(context: ssl.SSLContext) -> None:
    """Switch off resumption by session id; ``OP_NO_TICKET`` alone does not (crypto.md 5.7)."""
    library().SSL_CTX_ctrl(_pointer(context), _CTRL_SET_SESS_CACHE_MODE, _SESS_CACHE_OFF, None)


def limit_fragments(context: ssl.SSLContext, code: int) -> None:
    """Ask for a largest fragment of ``2**(8 + code)`` octets (RFC 6066), as a client.

    Raises:
        LibsslError: this libssl does not know the extension.
    """
    lib = library("SSL_CTX_set_tlsext_max_fragment_length")
    if lib.SSL_CTX_set_tlsext_max_fragment_length(_pointer(context), code) != 1:
        raise LibsslError(f"libssl refused fragment code {code}")


def accept_any_certificate(context: ssl.SSLContext) -> None:
    """Ask for the peer's certificate but let any, or no client's, pass; who it is is decided later.

    Possession of its key is still proven by CertificateVerify. Call after the last change of
    ``verify_mode`` (crypto.md 5.4).
    """

    def verify(_ok: int, _store: int | None) -> int:
        return 1

    callback = _VERIFY_CALLBACK(verify)
    _KEEP.setdefault(context, []).append(callback)
    library("SSL_CTX_set_verify").SSL_CTX_set_verify(_pointer(context), _VERIFY_PEER, callback)


def use_external_key(
    context: ssl.SSLContext, chain_file: str, leaf: bytes, sign: Callable[[bytes], bytes]
) -> None:
    """Let every handshake signature of this context be made by ``sign``; libssl has no private key.

    Args:
        context: the context.
        chain_file: PEM file, leaf first.
        leaf: the leaf certificate in DER.
        sign: digest -> DER ECDSA-Sig-Value; an exception fails the handshake.

    Raises:
        LibsslError: any step failed; use the fallback then.
    """
    lib, pointer = library("EC_KEY_METHOD_set_sign", "EC_KEY_set_method"), _pointer(context)
    if lib.SSL_CTX_use_certificate_chain_file(pointer, chain_file.encode()) != 1:
        raise LibsslError("libssl refused the certificate")
    buffer = ctypes.c_char_p(leaf)
    certificate = lib.d2i_X509(None, ctypes.byref(buffer), len(leaf))
    public = lib.X509_get_pubkey(certificate) if certificate else None
    original = lib.EVP_PKEY_get1_EC_KEY(public) if public else None
    if not original:
        raise LibsslError("the certificate has no EC key")
    key = lib.EC_KEY_dup(original)
    method = lib.EC_KEY_METHOD_new(lib.EC_KEY_OpenSSL())
    old = [ctypes.c_void_p() for _ in range(3)]
    lib.EC_KEY_METHOD_get_sign(method, *(ctypes.byref(item) for item in old))
    callback = _SIGN_CALLBACK(_signing(sign))
    lib.EC_KEY_METHOD_set_sign(method, callback, old[1], old[2])
    wrapped = lib.EVP_PKEY_new()
    steps = (
        lambda: lib.EC_KEY_set_method(key, method),
        lambda: lib.EVP_PKEY_set1_EC_KEY(wrapped, key),
        lambda: lib.SSL_CTX_use_PrivateKey(pointer, wrapped),
        lambda: lib.SSL_CTX_check_private_key(pointer),
    )
    ok = all(int(step()) == 1 for step in steps)  # type: ignore[no-untyped-call]
    # the context holds its own references now; the callback and the method must outlive it
    for free, item in (
        (lib.EVP_PKEY_free, wrapped),
        (lib.EC_KEY_free, key),
        (lib.EC_KEY_free, original),
        (lib.EVP_PKEY_free, public),
        (lib.X509_free, certificate),
    ):
        free(item)
    _KEEP.setdefault(context, []).append(callback)
    if not ok:
        raise LibsslError("libssl refused a key that stays in the security module")


def _signing(sign: Callable[[bytes], bytes]) -> Callable[..., int]:
    def callback(  # the C signature of EC_KEY_METHOD's sign
        _type: int, digest: int, length: int, out: int, out_length: Any, *_unused: Any
    ) -> int:
        with contextlib.suppress(Exception):  # an exception must never leave the callback
            signature = sign(ctypes.string_at(digest, length))
            ctypes.memmove(out, signature, len(signature))
            out_length[0] = len(signature)
            return 1
        return 0

    return callback


def check() -> None:
    """Prove that settings reach libssl: set a list, and see a wrong one refused.

    Raises:
        LibsslError: they do not.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    set_groups(context, "brainpoolP256r1:P-384")
    try:
        set_groups(context, "no-such-curve")
    except LibsslError:
        return
    raise LibsslError("libssl accepts any curve name; the context pointer is wrong")
