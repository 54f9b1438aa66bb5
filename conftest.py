"""The plugins of the tests, for the notebooks too."""

pytest_plugins = [f"tests.support.plugins.{name}" for name in ("groups", "notebooks", "torture")]
