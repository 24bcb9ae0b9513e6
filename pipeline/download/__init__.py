"""Fetching videos with yt-dlp: in a child process, with pauses per host and a class for each kind of error."""
