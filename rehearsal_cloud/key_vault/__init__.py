"""Key Vault's data plane: `api` serves the secrets of every vault, which `backends.vault_secrets` stores."""
