"""Access to the API: authentication, RBAC, Azure RBAC and access reviews."""
