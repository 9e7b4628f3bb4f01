"""Wide area network: what goes to and comes from administrator and market participants."""
