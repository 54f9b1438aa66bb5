"""The container registry's data plane: `api` serves the OCI distribution API, `tokens` its sign-in."""
