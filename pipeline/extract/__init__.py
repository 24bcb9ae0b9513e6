"""Windows of many videos into batches, vectors into feature stores; each video is decoded once."""
