"""Items and their key frames: who rated which item, and which of its frames a user likes (JIFR's protocol)."""
