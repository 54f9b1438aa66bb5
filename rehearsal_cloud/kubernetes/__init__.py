"""The managed clusters: a Kubernetes API, controllers, and a node that runs containers as processes.

- `clusters` holds the clusters that run, `cluster` puts one together, `state` is what its parts share.
- `cloud_services` is all that a cluster needs of its cloud.
- `api` is the API server, `auth` its access control, `objects` what it stores; `bootstrap` creates the first objects,
  `pool_nodes` the nodes of pools.
- `controller_manager` runs the `controllers`; `addons` are those of AKS: KEDA, the Secrets Store driver, workload
  identity.
- `node` is the kubelet and the container runtime; `images` builds what containers are started from.
"""
