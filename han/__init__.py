"""Home area network: what a consumer sees (IF_GW_CON)."""
