"""Access to the API: `authentication`, `authorizer` (RBAC and Azure RBAC), `escalation` checks and access `reviews`."""
