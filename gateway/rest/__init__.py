"""HTTP as the seed families have it: fields, JSON and events, the error table, multipart, idempotency, limits."""
