"""The loops of control: dispatch, claim, outcomes, due, logs. Each is woken by events; none polls."""
