"""Benches: every figure the documents state is printed by a command here."""
