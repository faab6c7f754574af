"""What control and agent say to each other: records, a session without IO, transports."""
