"""The backends of resources.

Servers: `postgresql`, `valkey`, with their `processes`, `tls` and `ports`. Stores: `image_store`, `vault_secrets`,
`blobs`.
"""
