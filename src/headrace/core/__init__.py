"""The rules: compile, reach, step, eligible. Pure: no clock, dice, IO or logging."""
