"""Episodes on a running arm, as a person with a stopwatch would do them: over topics and services only."""
