"""Where the community is kept: SQL is the truth, and the read models in Redis can always be made again from it."""
