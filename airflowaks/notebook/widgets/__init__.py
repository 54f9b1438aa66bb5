"""The buttons of the troubleshooting notebook: views of the diagnosis, for an attended run."""
