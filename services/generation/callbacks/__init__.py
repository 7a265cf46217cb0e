"""What providers send to us: taken in at once, worked through later, and results that come late."""
