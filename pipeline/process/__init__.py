"""A child process that can be killed, and the pipes to it."""
