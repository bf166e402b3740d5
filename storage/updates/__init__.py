"""Rows change while they are served: durable, visible in every process, recovered."""
