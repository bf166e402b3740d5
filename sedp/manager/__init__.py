"""The resource manager: pure decisions that hold a pipeline's latency target."""
