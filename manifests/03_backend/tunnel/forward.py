"""Forwards ports of the pod's loopback, each to one server: arguments such as 15000:host:5432, and nothing else.

TLS is between the two ends; what passes here is encrypted. A failure to connect is a line of the log, in the words of
PostgreSQL's clients, because the other end sees a closed connection only.
"""

import asyncio
import os
import socket
import sys
from asyncio import StreamReader, StreamWriter

CHUNK = 65536
CONNECT_SECONDS = 20


async def copy(reader: StreamReader, writer: StreamWriter) -> None:
    """Copy until one side ends, and tell the other."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def serve(reader: StreamReader, writer: StreamWriter, host: str, port: int) -> None:
    """Forward one connection. The firewall rules that let it through are of IPv4 addresses."""
    failed = f'connection to server at "{host}", port {port} failed'
    try:
        connecting = asyncio.open_connection(host, port, family=socket.AF_INET)
        server_reader, server_writer = await asyncio.wait_for(connecting, CONNECT_SECONDS)
    except asyncio.TimeoutError:  # noqa: UP041 - an image may have Python 3.10, where it is another
        print(f"{failed}: Connection timed out")
    except socket.gaierror as error:
        print(f'could not translate host name "{host}" to address: {error.strerror}')
    except OSError as error:
        print(f"{failed}: {os.strerror(error.errno) if error.errno else error}")
    else:
        await asyncio.gather(copy(reader, server_writer), copy(server_reader, writer))
        server_writer.close()
    writer.close()


async def listen(port: int, host: str, host_port: int) -> None:
    """Listen at a port, for one server."""

    async def forward(reader: StreamReader, writer: StreamWriter) -> None:
        await serve(reader, writer, host, host_port)

    await asyncio.start_server(forward, "127.0.0.1", port)


async def main() -> None:
    """Listen at every port, and say so."""
    for argument in sys.argv[1:]:
        port, host, host_port = argument.split(":")
        await listen(int(port), host, int(host_port))
    print("ready")
    await asyncio.Event().wait()


asyncio.run(main())
