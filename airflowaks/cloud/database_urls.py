"""The database URLs of Airflow and Celery, in the schemes of their drivers.

SQLAlchemy 2.1 takes a bare `postgresql://` to mean psycopg 3, so each URL names its driver. Airflow derives an invalid
asynchronous URL from a synchronous one with an `sslmode`, so both are set.

No URL has a file path, because the client may run on another machine. `sslrootcert=system` (libpq 16 or newer) means
the certificates that OpenSSL trusts; the environment variable SSL_CERT_FILE sets their path.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit


class DatabaseUrl(NamedTuple):
    """The parts of a database URL, which always verifies the server's name and certificate."""

    user: str
    password: str
    host: str
    port: int
    database: str

    def __repr__(self) -> str:
        """Return the URL without the password."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"

    def spell(self, scheme: str) -> str:
        """Return the URL with a scheme such as `postgresql+psycopg2`."""
        user, password, database = (quote(part, safe="") for part in (self.user, self.password, self.database))
        return f"{scheme}://{user}:{password}@{self.host}:{self.port}/{database}?sslmode=verify-full&sslrootcert=system"

    @classmethod
    def parse(cls, url: str) -> DatabaseUrl:
        """Return the parts of a URL. Raises ValueError if it lacks a host, a port or a password."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            # The original message repeats a part of the URL, possibly of the password.
            raise ValueError("the URL is not well-formed") from None
        if port is None or not parts.password or not parts.hostname:
            raise ValueError("the URL lacks a host, a port or a password")
        user, database = unquote(parts.username or ""), unquote(parts.path.removeprefix("/"))
        return cls(user, unquote(parts.password), parts.hostname, port, database)


def password_of(url: str, user: str | None = None) -> str | None:
    """Return the password in a URL, or None where there is none, or it is not that of `user`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if not parts.password or user not in (None, unquote(parts.username or "")):
        return None
    return unquote(parts.password)
