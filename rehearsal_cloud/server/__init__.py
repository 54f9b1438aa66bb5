"""The rehearsal's process and its command line.

`front_door` serves Azure's host names over HTTPS, `proxy` leads clients there, `daemon` starts and stops the process;
`cli` is the command line, `kubectl` and `status` two of its commands.
"""
