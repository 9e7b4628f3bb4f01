"""libssl with numbers of the security module: ClientHello random and ECDHE pair (figure F28).

The other half of the ctypes room (:mod:`smgw_emu.transport._libssl` is the first), used in strict
mode only. Two process-wide hooks of the libcrypto behind ``ssl``, verified with OpenSSL 3.0:

* an application EVP_PKEY_METHOD for EC keys: OpenSSL prefers it to its providers
  (``int_ctx_new``). Its key generation and derivation go to libcrypto's own, except inside
  :func:`handshake_step` with a pair of the module: then the "new key" is the module's public
  point, without a private one, and the "derived secret" the module's.
* a RAND_METHOD, set for the one step that writes the ClientHello.

Outside a step nothing changes but that libcrypto calls through here. :func:`install` raises where a
later OpenSSL lacks these calls; the caller falls back and says so.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from smgw_emu.transport._libssl import LibsslError, library

_EVP_PKEY_EC = 408  # NID_X9_62_id_ecPublicKey
_AUTOARGLEN = 2  # EVP_PKEY_FLAG_AUTOARGLEN, as libcrypto's own EC method would have it

_pointer, _number, _size = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
_KEYGEN = ctypes.CFUNCTYPE(_number, _pointer, _pointer)
_DERIVE = ctypes.CFUNCTYPE(_number, _pointer, _pointer, ctypes.POINTER(_size))
_BYTES = ctypes.CFUNCTYPE(_number, _pointer, _number)
_STATUS = ctypes.CFUNCTYPE(_number)


class _RandMethod(ctypes.Structure):
    _fields_ = [  # ctypes' way
        ("seed", _pointer),
        ("bytes", _BYTES),
        ("cleanup", _pointer),
        ("add", _pointer),
        ("pseudorand", _BYTES),
        ("status", _STATUS),
    ]


_SIGNATURES: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
    ("EVP_PKEY_meth_find", _pointer, (_number,)),
    ("EVP_PKEY_meth_new", _pointer, (_number, _number)),
    ("EVP_PKEY_meth_copy", None, (_pointer, _pointer)),
    ("EVP_PKEY_meth_add0", _number, (_pointer,)),
    ("EVP_PKEY_meth_get_keygen", None, (_pointer, _pointer, _pointer)),
    ("EVP_PKEY_meth_set_keygen", None, (_pointer, _pointer, _KEYGEN)),
    ("EVP_PKEY_meth_get_derive", None, (_pointer, _pointer, _pointer)),
    ("EVP_PKEY_meth_set_derive", None, (_pointer, _pointer, _DERIVE)),
    ("EC_KEY_new_by_curve_name", _pointer, (_number,)),
    ("EC_KEY_oct2key", _number, (_pointer, ctypes.c_char_p, _size, _pointer)),
    ("EC_KEY_free", None, (_pointer,)),
    ("EVP_PKEY_set1_EC_KEY", _number, (_pointer, _pointer)),
    ("OBJ_txt2nid", _number, (ctypes.c_char_p,)),
    ("RAND_set_rand_method", _number, (_pointer,)),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """An ephemeral pair of the module: curve OID, public point, x-coordinate of the secret."""

    curve_oid: str
    point: bytes
    shared: bytes


class _Bridge:
    """The two hooks; there is one per process."""

    def __init__(self) -> None:
        self.lib = library(*(name for name, _, _ in _SIGNATURES))
        for name, result, arguments in _SIGNATURES:
            function = getattr(self.lib, name)
            function.restype, function.argtypes = result, arguments
        self.pair: Pair | None = None
        self.random: Callable[[int], bytes] | None = None
        self._install_pairs()
        self._bytes = _BYTES(self._fill)
        self._status = _STATUS(lambda: 1)
        self._method = _RandMethod(bytes=self._bytes, pseudorand=self._bytes, status=self._status)

    # -- key pairs ---------------------------------------------------------------------------

    def _install_pairs(self) -> None:
        lib = self.lib
        original = lib.EVP_PKEY_meth_find(_EVP_PKEY_EC)
        method = lib.EVP_PKEY_meth_new(_EVP_PKEY_EC, _AUTOARGLEN)
        if not original or not method:
            raise LibsslError("libcrypto has no EC key method to build on")
        lib.EVP_PKEY_meth_copy(method, original)
        init, keygen, derive_init, derive = (ctypes.c_void_p() for _ in range(4))
        lib.EVP_PKEY_meth_get_keygen(original, ctypes.byref(init), ctypes.byref(keygen))
        lib.EVP_PKEY_meth_get_derive(original, ctypes.byref(derive_init), ctypes.byref(derive))
        if not keygen.value or not derive.value:
            raise LibsslError("libcrypto's EC key method cannot be built on")
        self._own_keygen, self._own_derive = _KEYGEN(keygen.value), _DERIVE(derive.value)
        self._keygen, self._derive = _KEYGEN(self._make), _DERIVE(self._agree)
        lib.EVP_PKEY_meth_set_keygen(method, init, self._keygen)
        lib.EVP_PKEY_meth_set_derive(method, derive_init, self._derive)
        if lib.EVP_PKEY_meth_add0(method) != 1:
            raise LibsslError("libcrypto took no EC key method")

    def _make(self, context: int, key: int) -> int:
        """Key generation: the module's point, or libcrypto's own pair."""
        pair = self.pair
        if pair is None:
            return int(self._own_keygen(context, key))
        lib = self.lib
        made = lib.EC_KEY_new_by_curve_name(lib.OBJ_txt2nid(pair.curve_oid.encode()))
        if not made:
            return 0
        good = lib.EC_KEY_oct2key(made, pair.point, len(pair.point), None) == 1
        good = good and lib.EVP_PKEY_set1_EC_KEY(key, made) == 1
        lib.EC_KEY_free(made)
        return int(good)

    def _agree(self, context: int, secret: int, length: Any) -> int:
        """Derivation: the module's secret, or libcrypto's own."""
        pair = self.pair
        if pair is None:
            return int(self._own_derive(context, secret, length))
        if secret:
            if length[0] < len(pair.shared):
                return 0
            ctypes.memmove(secret, pair.shared, len(pair.shared))
        length[0] = len(pair.shared)
        return 1

    # -- random numbers ----------------------------------------------------------------------

    def _fill(self, buffer: int, count: int) -> int:
        with contextlib.suppress(Exception):  # an exception must never leave the callback
            assert self.random is not None
            ctypes.memmove(buffer, self.random(count), count)
            return 1
        return 0

    @contextlib.contextmanager
    def step(self, pair: Pair | None, random: Callable[[int], bytes] | None) -> Iterator[None]:
        """Let libssl use the module's numbers for one call."""
        self.pair, self.random = pair, random
        if random is not None:
            self.lib.RAND_set_rand_method(ctypes.byref(self._method))
        try:
            yield
        finally:
            self.pair = self.random = None
            if random is not None:
                self.lib.RAND_set_rand_method(None)


_bridge: _Bridge | None = None


def install() -> None:
    """Install the hooks, once per process.

    Raises:
        LibsslError: this libcrypto cannot do it.
    """
    global _bridge  # noqa: PLW0603  # libcrypto's table is global too
    if _bridge is None:
        _bridge = _Bridge()


def handshake_step(
    pair: Pair | None = None, random: Callable[[int], bytes] | None = None
) -> contextlib.AbstractContextManager[None]:
    """Return the context for one handshake step of libssl.

    Args:
        pair: the module's ephemeral pair, once the server's point is known.
        random: source of random octets, for the step that writes the ClientHello.
    """
    if _bridge is None or (pair is None and random is None):
        return contextlib.nullcontext()
    return _bridge.step(pair, random)
