"""What is missing, in which order it is taken, and what it will cost."""
