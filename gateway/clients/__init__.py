"""The services as the gateway calls them: stubs, uploads, watches, batched reads."""
