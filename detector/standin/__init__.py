"""Stand-ins for outside systems: a PagerDuty that enforces its documented rules, and a small shop to break.

They ship in the wheel because `detector demo` and `detector drill` use the very parts the tests use. Only those commands
import this package, and only inside their functions; nothing else of the daemon knows it.
"""
