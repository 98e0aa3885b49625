"""Many rows, day by day: what each stage does a second, how that grows, and the same rows the stock way."""
