"""Facts about a deployment: typed data, one module for each source."""
