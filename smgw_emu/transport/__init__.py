"""TLS and HTTP between the protocol rooms and the sockets; clocks and event loop.

``tls`` and ``http`` are sans-IO machines; ``server``, ``clock`` and ``_libssl`` are the edge.
"""
