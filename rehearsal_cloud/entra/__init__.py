"""Entra ID: `directory` keeps principals and signs tokens, `login` is the sign-in endpoint, `graph` Microsoft Graph."""
