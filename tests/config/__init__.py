"""The YAML layer, from bytes to compiled pipelines, and the commands on top of it."""
