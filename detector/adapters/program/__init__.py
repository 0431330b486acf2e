"""Real programs that the command line starts on this machine for a while: a Prometheus on series of its own.

`child` runs one program, `prometheus` gives a Prometheus its series and its port, `remotewrite` writes what OpenMetrics cannot say.
"""
