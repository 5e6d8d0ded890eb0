"""Built-in tasks; each comes in through the entry points, as anybody's does."""
