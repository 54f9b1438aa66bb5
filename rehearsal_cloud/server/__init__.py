"""The rehearsal's process: the front door with Azure's host names, the proxy, the daemon and its command line."""
