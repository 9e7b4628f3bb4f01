"""Local metrological network: bytes of meters to typed messages and back."""
