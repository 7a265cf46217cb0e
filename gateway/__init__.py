"""The gateway: takes browsers' JSON, forms and providers' callbacks in, calls services by gRPC, and decides nothing."""
