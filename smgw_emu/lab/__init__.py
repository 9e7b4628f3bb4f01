"""The laboratory around the device: making gateways, watching them, moving their time."""
