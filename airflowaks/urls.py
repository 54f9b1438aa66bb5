"""The URLs that Airflow opens its database with: one password, in the three spellings that Airflow wants.

SQLAlchemy 2.1 takes a bare `postgresql://` for psycopg 3, so the driver is always spelled out. Airflow derives the
asynchronous URL by itself and gets it wrong as soon as the synchronous one has an `sslmode`, so it is given too.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit


class DatabaseUrl(NamedTuple):
    """What a database is opened with, over TLS with the server's name and certificate verified.

    `root_certificates` is a CA file, or `system` for the operating system's own (libpq 16 or newer).
    """

    user: str
    password: str
    host: str
    port: int
    database: str
    root_certificates: str

    def __repr__(self) -> str:
        """Return everything but the password."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"

    def spell(self, scheme: str) -> str:
        """Return the URL under a scheme such as `postgresql+psycopg2`."""
        # libpq reads %20 as a space, and + as a plus sign.
        query = urlencode({"sslmode": "verify-full", "sslrootcert": self.root_certificates}, quote_via=quote)
        user, password, database = (quote(one, safe="") for one in (self.user, self.password, self.database))
        return f"{scheme}://{user}:{password}@{self.host}:{self.port}/{database}?{query}"

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
        query = parse_qs(parts.query)
        root = query.get("sslrootcert", [""])[0]
        user, database = unquote(parts.username or ""), unquote(parts.path.removeprefix("/"))
        return cls(user, unquote(parts.password), parts.hostname, port, database, root)


def password_of(url: str) -> str | None:
    """Return the password in a URL, or None where there is none."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return None
    return unquote(password) if password else None
