"""The preflight: what Azure says to an environment before anything is created."""
