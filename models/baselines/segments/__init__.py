"""What the systems compared with TransGRec share, beside the protocol: how they are scored, pairs of segments of one
video, and what a user likes elsewhere."""
