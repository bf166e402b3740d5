"""The process tree: one supervisor, and the workers that serve."""
