"""The seven steps, one module each: its resources in order, the functions that notebook cells call, its checks."""
