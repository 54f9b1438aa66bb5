"""Readers: how the facts of each source are had. None of them writes; what cannot be read is a fact, not an error."""
