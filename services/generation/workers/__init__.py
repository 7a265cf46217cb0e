"""The background work of generation: lease loops that submit, poll, copy and recover, and the pruning of old rows."""
