"""The rules of sharing: what may be shared, what the lists show, and who may publish or delete."""
