"""Container images as virtual environments: `recipes` say what is in them, `builds`, and `docker_build`."""
