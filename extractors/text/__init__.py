"""Extractors that read text. They are fitted on the texts of a root and encode texts that are added later."""
