"""What callers and operators may do with generations: order, look, cancel, retry, watch, explain, restore."""
