"""The rehearsal cloud: an independent program that emulates Azure, reached over HTTPS only.

It imports nothing from the library `airflowaks`, nor the library from it: a session reaches it by proxy URL, CA file
and credentials, like Azure behind a company's proxy. From top to bottom, each package imports only those below it:

- `server`: the process, its HTTPS endpoint and proxy, and the command line.
- `key_vault`, `registry`: the data planes of vaults and container registries.
- `resource_manager`: Azure Resource Manager with its providers, and `Cloud`, the state of one rehearsal.
- `kubernetes`: the managed clusters.
- `entra`: the directory, sign-in and Microsoft Graph.
- `backends`: PostgreSQL, Valkey, and the stores of images, secrets and blobs.
- `store`, `certificates`, `routing`, `home`, `hosts`, `errors`, `documents`: what all of them use.
"""
