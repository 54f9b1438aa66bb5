"""Key Vault data plane: the secrets of every vault."""
