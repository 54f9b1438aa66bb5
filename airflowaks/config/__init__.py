"""The environment file: its schema, its types, and the rules for names."""
