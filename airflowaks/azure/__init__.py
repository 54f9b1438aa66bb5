"""Azure's resources, one module a service, on the real SDKs."""
