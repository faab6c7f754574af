"""What happens, as it is told outside: the feed of all events in commit order, and those who watch it. Reads only."""
