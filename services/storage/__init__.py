"""The storage service: owns bytes and the rows that name them; it never learns what a generation or a share is."""
