"""What really runs behind resources: PostgreSQL, Valkey, their processes, TLS and ports; image and blob files."""
