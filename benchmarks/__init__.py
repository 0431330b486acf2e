"""What detection costs and how long it takes, measured on the real process: `python -m benchmarks`, `make bench`."""
