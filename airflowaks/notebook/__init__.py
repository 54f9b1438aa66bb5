"""What notebooks show, ask and keep: runs, parameters, progress, pictures, records and deployments."""
