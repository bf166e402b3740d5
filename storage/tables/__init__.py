"""Look-ups: a table, its versions, and the cascade of tiers that answers."""
