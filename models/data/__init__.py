"""Tables and stores of a root as arrays, and splits of them."""
