"""The comparison of a trace of Azure with what this rehearsal answers to the same requests."""
