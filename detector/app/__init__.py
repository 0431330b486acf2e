"""The imperative shell around the domain: polls, commits, dispatches, reloads; knows ports, never an adapter."""
