"""Fetching videos with yt-dlp: one child process a video, pauses per host, errors as classes."""
