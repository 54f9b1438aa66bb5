"""The console: what a notebook shows to somebody who can press buttons, as views of what the library does anyway."""
