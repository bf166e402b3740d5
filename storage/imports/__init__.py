"""Whole tables come in: from arrays and files of many kinds into both cold tiers."""
