"""Settings of all tests."""

from hypothesis import settings

# A busy machine is no bug: examples have no deadline (each test has a timeout).
settings.register_profile("burnish", deadline=None)
settings.load_profile("burnish")
