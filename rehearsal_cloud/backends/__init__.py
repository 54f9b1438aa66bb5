"""What runs or is kept behind resources.

Servers: `postgresql`, `valkey`, with their `processes`, `tls` and `ports`. Stores: `image_store`, `vault_secrets`,
`blobs`.
"""
