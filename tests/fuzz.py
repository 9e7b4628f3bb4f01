"""Fuzzing with Hypothesis: mutations of a good input, 10 000 of them in CI."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

_COUNTS = {"dev": 200, "ci": 10_000, "soak": 50_000}


def fuzz_count() -> int:
    """Return how many inputs each parser gets."""
    default = "ci" if os.environ.get("CI") else "dev"
    return _COUNTS[os.environ.get("HYPOTHESIS_PROFILE", default)]


def _mutate(good: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    data = bytearray(good)
    for position, length, replacement in edits:
        at = position % (len(data) + 1)
        data[at : at + length] = replacement
    return bytes(data)


def inputs(*good: bytes) -> st.SearchStrategy[bytes]:
    """Return arbitrary bytes and edited copies of good inputs."""
    edit = st.tuples(st.integers(0, 4095), st.integers(0, 8), st.binary(max_size=6))
    mutated = st.builds(_mutate, st.sampled_from(good or (b"",)), st.lists(edit, max_size=4))
    return st.one_of(st.binary(max_size=256), mutated)


def fuzz(*good: bytes) -> Callable[[Callable[[bytes], None]], Any]:
    """Give a test ``data`` that is arbitrary or nearly good."""

    def decorate(test: Callable[[bytes], None]) -> Any:
        return settings(max_examples=fuzz_count())(given(data=inputs(*good))(test))

    return decorate
