"""What every extractor has in common: its protocol, settings, device, and how it wants frames and sound."""
