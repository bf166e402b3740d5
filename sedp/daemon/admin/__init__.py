"""The admin plane: what operators see and change."""
