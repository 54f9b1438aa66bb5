"""Diagnosis: facts about a deployment, rules that find causes in them, and the fix of each cause."""
