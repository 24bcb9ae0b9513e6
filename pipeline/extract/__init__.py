"""Windows of many videos in batches through extractors into feature stores; each video is decoded once. Texts as
well."""
