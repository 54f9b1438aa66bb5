"""The plugins of the tests, for the notebooks too."""

pytest_plugins = ["tests.support.plugins.groups", "tests.support.plugins.notebooks"]
