"""Envoy's configuration, rendered from one template."""
