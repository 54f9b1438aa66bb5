"""Diagnosis: facts from every side of a deployment, rules that find causes in them, and what can be done about each."""
