"""Changes to named things (jobs, packages, agents, tokens): pure decisions over loaded rows."""
