"""Networks of the benchmark, written by hand with torch alone."""
