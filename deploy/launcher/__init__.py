"""Runs all processes on one machine: plan, start, watch, stop; the program behind `make up`."""
