"""The transparent channel between a CLS and an EMT (TR-03109-1 v1.0 3.4.3.3 to 3.4.3.5).

``socks`` is how a CLS asks for a channel, ``rules`` who may have one, ``start`` when the gateway
opens one by itself, ``life`` the steps of a channel from order to end. Nothing here opens a socket.
"""
