"""The child process that imports user code and calls it. Knows neither control nor store."""
