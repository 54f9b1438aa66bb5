"""The rehearsal's managed cluster: a Kubernetes API and a node that runs containers as processes."""
