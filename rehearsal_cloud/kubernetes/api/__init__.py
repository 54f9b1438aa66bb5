"""The cluster's API server.

`server` reads, authorises and logs requests; `resources`, `scale`, `subresources` and `watching` answer them;
`discovery` and `openapi` describe the API; `admission` completes new objects; `tables` prints.
"""
