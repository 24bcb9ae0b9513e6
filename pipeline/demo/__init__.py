"""The planted corpus of the demo: videos with known tastes, which user liked which seconds of them, and a server."""
