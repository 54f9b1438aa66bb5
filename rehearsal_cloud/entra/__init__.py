"""Entra ID: the directory of principals, its sign-in endpoint and Microsoft Graph."""
