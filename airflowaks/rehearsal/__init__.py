"""The rehearsal cloud: a program of its own that stands in for Azure, reached over HTTPS only.

It imports nothing from the rest of the package and the rest imports nothing from it: a session finds it by proxy URL,
CA file and credentials, as it finds Azure behind a company's proxy.
"""
