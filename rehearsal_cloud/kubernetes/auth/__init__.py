"""Who asks, and whether that is allowed: authentication, RBAC, Azure RBAC and access reviews."""
