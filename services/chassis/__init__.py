"""What every service rides on: how to be configured, to fail, to log, to serve and to keep data. Knows no domain."""
