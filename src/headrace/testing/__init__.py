"""The kit for tests: the simulator and what it is made of. Never imported by the product."""
