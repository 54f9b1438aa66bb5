"""Readers of facts, one module for each source. A reader never writes; a failed reading is itself a fact."""
