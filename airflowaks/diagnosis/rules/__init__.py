"""Rules: facts in, findings out; one module for each section of what goes wrong."""
