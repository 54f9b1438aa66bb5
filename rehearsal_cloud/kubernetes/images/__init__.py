"""Container images as virtual environments: how each is built, and how pods start from it."""
