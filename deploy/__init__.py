"""Runs the stack on one machine: the launcher behind `make up`, the `kawaii` command and Envoy in front."""
