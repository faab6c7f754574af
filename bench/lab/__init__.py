"""What every row of the benchmark needs: the machine, servers of its own, a look at processes, HTTP, results."""
