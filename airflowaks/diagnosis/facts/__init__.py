"""Facts: what was seen of a deployment, typed and without behaviour; one module for each source."""
