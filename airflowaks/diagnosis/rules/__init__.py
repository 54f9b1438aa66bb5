"""Rules, which find causes in facts: one module for each layer of a deployment."""
