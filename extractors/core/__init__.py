"""Code that all extractors share: protocol, descriptor, settings, device, windows of frames and sound."""
