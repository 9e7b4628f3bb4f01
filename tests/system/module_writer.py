"""A process to be killed: makes keys, files and PIN changes, names each one that is durable."""

from __future__ import annotations

import sys
from pathlib import Path

from hsm_sim import Curve, SecurityModule
from hsm_sim.curves import point_octets

module = SecurityModule(Path(sys.argv[1]))
known = len(module.slots())
print("ready", flush=True)
for number in range(known, known + 400):
    point = point_octets(module.generate(f"K{number}", Curve.BRAINPOOL_P256))
    sys.stdout.write(f"key {number} {point.hex()}\n")
    module.write_file(f"F{number % 5}", point * 20)
    sys.stdout.write(f"file {number % 5} {point.hex()}\n")
    if number % 4 == 0:
        module.change_pin(f"{number:010d}")
    sys.stdout.flush()
