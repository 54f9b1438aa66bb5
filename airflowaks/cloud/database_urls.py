"""The URLs that Airflow opens its database with: one password, in the three spellings that Airflow wants.

SQLAlchemy 2.1 takes a bare `postgresql://` for psycopg 3, so the driver is always spelled out. Airflow derives the
asynchronous URL by itself and gets it wrong as soon as the synchronous one has an `sslmode`, so it is given too.

No URL names a file: who opens it may be on another machine than who wrote it. `sslrootcert=system` (libpq 16 or newer)
are the certificates that OpenSSL trusts, and the environment variable SSL_CERT_FILE says where those are.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit


class DatabaseUrl(NamedTuple):
    """What a database is opened with, over TLS with the server's name and certificate verified."""

    user: str
    password: str
    host: str
    port: int
    database: str

    def __repr__(self) -> str:
        """Return everything but the password."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"

    def spell(self, scheme: str) -> str:
        """Return the URL under a scheme such as `postgresql+psycopg2`."""
        user, password, database = (quote(one, safe="") for one in (self.user, self.password, self.database))
        return f"{scheme}://{user}:{password}@{self.host}:{self.port}/{database}?sslmode=verify-full&sslrootcert=system"

    @classmethod
    def parse(cls, url: str) -> DatabaseUrl:
        """Return what a URL says. Raises ValueError where it is not of this form."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            # Its text repeats a piece of the URL, which may be a piece of the password.
            raise ValueError("the URL is not well-formed") from None
        if port is None or not parts.password or not parts.hostname:
            raise ValueError("the URL lacks a host, a port or a password")
        user, database = unquote(parts.username or ""), unquote(parts.path.removeprefix("/"))
        return cls(user, unquote(parts.password), parts.hostname, port, database)


def password_of(url: str) -> str | None:
    """Return the password in a URL, or None where there is none."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return None
    return unquote(password) if password else None
