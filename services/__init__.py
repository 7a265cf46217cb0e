"""Every service of the town: each folder is one process, and they meet only in the protos."""
