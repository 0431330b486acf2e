"""Pure values and functions: no await, no clock, no logger, no I/O; `now` is an argument."""
