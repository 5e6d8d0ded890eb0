"""What can be on a face, and how to find it or draw it."""
