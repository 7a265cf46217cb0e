"""The provider's accounts and keys: which one is used next, which rest and for how long, and their health checks."""
