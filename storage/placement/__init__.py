"""Rows move up between the tiers, by how often they are asked for."""
