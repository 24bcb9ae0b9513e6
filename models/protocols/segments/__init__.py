"""Segments of a user's last video, or whole videos that training never saw, ranked for users of the training
(TransGRec's protocol)."""
