"""Every service of the stack: each folder is one process, and they meet only in the protos."""
