"""Container registry data plane: the OCI distribution API, and its tokens."""
