"""The data plane over gRPC; needs the extra `sedp[grpc]`."""
