"""Errors say whose fault it was (architecture, section 9)."""


class SmgwError(Exception):
    """Base of everything this project raises on purpose; its text is fit for a user."""


class LocalProtocolError(SmgwError):
    """We misused a codec or a machine: a bug or a wrong argument on our side."""


class RemoteProtocolError(SmgwError):
    """The peer sent something the protocol does not allow; a parser raises nothing else."""


class ConfigError(SmgwError):
    """The configuration of a gateway, or a profile, cannot be used; the text names the field."""


class StoreError(SmgwError):
    """The state store cannot be used (missing, locked, newer schema)."""


class StoreDamagedError(StoreError):
    """The state store's content is damaged; the device reacts with its boot-time error state."""
