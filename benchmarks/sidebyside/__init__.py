"""The same faults played to the daemon and to its peers, judged by the same oracle."""
