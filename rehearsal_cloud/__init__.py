"""The rehearsal cloud: a program of its own that stands in for Azure, reached over HTTPS only.

It imports nothing of the library `airflowaks`, nor the other way round: a session finds it by proxy URL, CA file and
credentials, as it finds Azure behind a company's proxy.
"""
