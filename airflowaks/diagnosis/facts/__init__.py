"""Facts about a deployment: typed data by source."""
