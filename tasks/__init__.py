"""The built-in tasks: light plugin classes with their options and trained removers."""
