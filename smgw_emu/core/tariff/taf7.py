"""TAF7, reading series (TR-03109-1 v1.0 4.2.2.7).

Every registration period gives one line of the value list; tariffs are formed outside the gateway.
One meter, a list of registers. There is no derived list: the series is the origin list itself.
"""

from __future__ import annotations

DATABASES = ("origin", "daily")
