"""The audio-visual feature network of the multimodal click-through paper."""
