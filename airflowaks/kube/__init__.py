"""Kubernetes: the client of a cluster's API, manifests, and the resources that converge from them."""
