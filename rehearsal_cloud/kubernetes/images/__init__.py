"""Container images as virtual environments: their recipes, their builds, and Docker builds."""
