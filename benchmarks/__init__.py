"""Benchmarks of the gateway as its users meet it: real processes, real sockets, results with machine and revision."""
