"""The objects of a cluster: decoding, defaults, validation, patches, server-side apply and storage."""
