"""States that protect: self-test (here), boot chain and firmware update (to come)."""
