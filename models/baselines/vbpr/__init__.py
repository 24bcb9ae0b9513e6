"""BPR and VBPR."""
