"""The data plane over HTTP: sockets, connections, limits, routes."""
