"""HTTP as the seed families speak it: fields in, JSON, bytes and events out, errors, limits."""
