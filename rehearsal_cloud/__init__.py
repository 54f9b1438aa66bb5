"""The rehearsal cloud: a program of its own that stands in for Azure, reached over HTTPS only.

It imports nothing of the library `airflowaks`, nor the other way round: a session finds it by proxy URL, CA file and
credentials, as it finds Azure behind a company's proxy. From top to bottom, each importing only what is below it:

- `server`: the process, its HTTPS endpoint and proxy, and the command line.
- `key_vault`, `registry`: the data planes of vaults and container registries.
- `resource_manager`: Azure Resource Manager with its providers, and `Cloud`, the state of one rehearsal.
- `kubernetes`: the managed clusters.
- `entra`: the directory, sign-in and Microsoft Graph.
- `backends`: PostgreSQL, Valkey, and the stores of images, secrets and blobs.
- `store`, `certificates`, `routing`, `home`, `hosts`, `errors`, `documents`: what all of them use.
"""
