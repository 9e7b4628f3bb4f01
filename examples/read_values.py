"""Read yesterday's quarter hours of a gateway as its consumer would, with requests alone.

usage: python examples/read_values.py gateway/access.json

Works against a real CONEXA too: put its address and your credentials into a file of the same shape.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests
from requests.auth import HTTPDigestAuth


def main() -> None:
    """Print one line per value: target time, value in kWh, status."""
    han = json.loads(Path(sys.argv[1]).read_text())["han"]
    base = f"https://{han['host']}:{han['port']}"
    session = requests.Session()
    session.auth = HTTPDigestAuth(han["user"], han["password"])
    session.verify = False  # self-signed for a device id; pin han["ca"] in earnest

    entry = session.get(f"{base}/smgw/m2m", allow_redirects=False, timeout=20)
    url = base + entry.headers["Location"]

    def call(method: str, **parameters: object) -> dict:
        answer = session.post(url, json={"method": method, **parameters}, timeout=20)
        answer.raise_for_status()
        return answer.json()[method]

    now = datetime.fromisoformat(call("smgw-info")["smgw-time"]).replace(tzinfo=UTC)
    point = next(p for p in call("user-info")["usage-points"] if p["taf-number"] == "7")
    contract = {"usage-point-id": point["usage-point-id"], "database": "origin"}
    info = call("usage-point-info", **contract)["databases"][0]["channels"][0]
    readings = call(
        "readings",
        **contract,
        fromtime=(now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        totime=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    for row in readings["channels"][0]["readings"]:
        kwh = int(row["value"]) * 10 ** int(info["scaler"]) / 1000
        print(row["target-time"], f"{kwh:12.4f} kWh", row["cosem-status"])


if __name__ == "__main__":
    main()
