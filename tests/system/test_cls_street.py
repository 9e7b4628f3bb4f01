"""Nothing is routed between WAN and HAN but the channels, on real interfaces (HAN-04, K-issue 5)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import namespaces, unshare

HERE = Path(__file__).resolve().parent


@pytest.mark.req("HAN-04", "HAN-02", "HAN-62", "WAN-65")
@pytest.mark.skipif(not namespaces(), reason="no right to make network namespaces here")
def test_only_a_channel_leads_from_the_han_to_the_wan(tmp_path):
    """Openssl s_client in the HAN talks to openssl s_server in the WAN, and nothing else gets through."""
    path = os.pathsep.join([str(HERE.parents[1]), str(HERE.parent)])
    out = subprocess.run(
        [*unshare(), sys.executable, str(HERE / "cls_street.py"), str(tmp_path)],
        capture_output=True, text=True, timeout=100, cwd=HERE.parents[1],
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert out.returncode == 0, out.stderr[-3000:]
    found = dict(line.split(" | ") for line in out.stdout.splitlines() if " | " in line)
    assert found["EMT from the HAN"] in {"TimeoutError", "OSError", "ConnectionRefusedError"}
    assert found["door from the WAN"] != "open"
    assert found["door from the HAN"] == "open"
    assert found["through the channel"] == "limit 4200"[::-1]
    assert found["channels"] == "open"
