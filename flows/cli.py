"""The command line."""


def main() -> None:
    """Run the reelmill command."""
