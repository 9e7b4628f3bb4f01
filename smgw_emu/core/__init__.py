"""What the gateway knows and decides: no socket, no serial port, no ``await``, no clock of its own.

Inputs come in as values with their world time, effects go out as return values and store
transactions. SQLite is the gateway's flash and is called synchronously (architecture, section 5).
"""
