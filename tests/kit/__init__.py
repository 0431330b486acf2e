"""Real servers and vendor stand-ins for the tests: each starts on a free port and is gone when its test ends."""
