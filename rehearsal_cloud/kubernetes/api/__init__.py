"""The cluster's API server: requests, discovery, watches, subresources and tables."""
