"""What one deployment should be: the environment file, its schema and types, and the rules that names follow."""
