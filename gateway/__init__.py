"""The gateway: takes browsers' JSON, forms and providers' webhooks in, calls services by gRPC, and decides nothing."""
