"""Which videos are processed first, and how much time and space they will take."""
