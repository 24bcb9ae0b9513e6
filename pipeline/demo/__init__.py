"""The planted corpus of the demo: videos with known tastes, who liked which seconds of them, and a server."""
