"""The front door: HTTP, the Open Inference Protocol, the admin port, start and stop."""
