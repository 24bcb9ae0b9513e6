"""The attention-based multimodal click-through model (Hasama and Li)."""
