"""The Open Inference Protocol v2 codec: from bytes to columns and back; pure."""
