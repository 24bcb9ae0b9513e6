"""The words in which sites refuse a video: those of yt-dlp's own extractors, and what older versions made of them."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yt_dlp

from reelmill.pipeline import errors
from reelmill.pipeline.download.classify import classify
from reelmill.pipeline.download.ingest import missing_media
from reelmill.pipeline.download.words import LATE, SITE, class_now, still_permanent
from reelmill.storage import Outcome, Outcomes, Tables

REFUSE = {
    "ExtractorError": None,
    "DownloadError": None,
    "raise_no_formats": None,
    "raise_login_required": "This video is only available for registered users",
    "raise_geo_restricted": "This video is not available from your location due to geo restriction",
    "GeoRestrictedError": None,
    "UserNotLive": "The channel is not currently live",
}
"""Calls by which an extractor refuses, with what they say if they are given no text."""


def literal(node: ast.expr | None) -> list[str]:
    """The texts that an expression of literals can become; X stands for what is filled in."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr():
            return ["".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)]
        case ast.BinOp(op=ast.Mod()):
            return [re.sub(r"%(\(\w+\))?[sdr]", "X", text) for text in literal(node.left)]
        case ast.BinOp(op=ast.Add()):
            return [a + b for a in literal(node.left) or ["X"] for b in literal(node.right) or ["X"]]
        case ast.IfExp():
            return literal(node.body) + literal(node.orelse)
    return []


def refusals() -> Iterator[tuple[str, str]]:
    """(name of the extractor's file, text) of every refusal in the source of the installed yt-dlp, as its caller sees
    it: with the request to report it, unless the extractor expected it."""
    for file in sorted(Path(yt_dlp.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            for note in (k.value for k in node.keywords if k.arg == "errnote"):  # before the reason of a failed request
                yield from ((file.stem, f"{text}: HTTP Error 403: Forbidden") for text in literal(note))
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name not in REFUSE:
                continue
            given = node.args[0] if node.args else next((k.value for k in node.keywords if k.arg == "msg"), None)
            texts = literal(given) if given else [REFUSE[name]] if REFUSE[name] else []
            expected = REFUSE[name] is not None or any(k.arg == "expected" for k in node.keywords)
            for text in texts:
                if text.strip("X :-()."):  # more than what the site says
                    yield file.stem, text if expected else f"{text}; please report this issue on https://github.com/x"


def test_the_refusals_of_yt_dlps_own_extractors_have_a_class() -> None:
    """The few that stay `unknown` pass on what the site says, or are about options that are never set here."""
    found = list(refusals())
    classes = Counter(
        classify(yt_dlp.utils.DownloadError(f"ERROR: [{where}] 1: {text}")).error_class for where, text in found
    )
    print(len(found), classes)
    assert len(found) >= 1000
    assert classes["unknown"] < 0.08 * len(found), classes
    assert {"private", "removed", "geo_blocked", "not_yet", "rate_limited", "extractor_failed"} <= set(classes)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (errors.Removed, "[youtube] abc: This video is not available"),
        (errors.Removed, "[TikTok] 7: Video not available, status code 10231; please report this issue on https://x"),
        (errors.Removed, "[youtube] abc: This content isn't available"),
        (errors.RateLimited, "[TikTok] 7: Your IP address is blocked from accessing this post"),
        (
            errors.RateLimited,
            "[youtube] abc: All player responses are invalid. Your IP is likely being blocked by Youtube",
        ),
        (errors.RateLimited, "[x] 1: Your IP has been banned"),
        (errors.Private, "[vimeo] 1: This video is protected by a password, use the --video-password option"),
        (errors.Private, "[zoom] 1: This video is protected by a passcode, use the --video-password option"),
        (errors.CutShort, "The downloaded file is empty"),
        (errors.CutShort, "Did not get any data blocks"),
        (errors.NotYet, "[x] 1: The channel is not currently live"),
        (errors.NotYet, "[niconico] 1: This livestream is scheduled to start at 20:00"),
        (errors.NotYet, "[twitter] 1: Twitter Space not started yet"),
        (errors.NotYet, "[x] 1: This video is not available yet. Release date: 2030-01-01"),
        (errors.FormatUnavailable, "[youtube] abc: Requested format is not available. Use --list-formats for a list"),
        (errors.FormatUnavailable, "[x] 1: No video formats found!; please report this issue on https://x"),
        (errors.Forbidden, "ERROR: unable to download video data: HTTP Error 403: Forbidden"),
        (errors.Forbidden, "[x] 1: Unable to log in: bad username or password"),
        (errors.Forbidden, "[TikTok] 1: Fresh cookies (not necessarily logged in) are needed"),
        (errors.Unsupported, "Initialization fragment found after media fragments, unable to download"),
        (errors.Unsupported, "[x] 1: No video found"),
        (errors.ExtractorFailed, "[x] 1: No video found; please report this issue on https://x"),
        (errors.ExtractorFailed, "[x] 1: Video data not found in the page; please report this issue on https://x"),
        (errors.ExtractorFailed, "[generic] private-video-not-available: Unable to extract title"),
    ],
)
def test_words_of_sites(expected: type[errors.VideoError], text: str) -> None:
    assert type(classify(yt_dlp.utils.DownloadError(text))) is expected


def test_the_state_of_a_host_is_no_verdict_on_a_video() -> None:
    for kind in (errors.Forbidden, errors.FormatUnavailable, errors.RateLimited, errors.NotYet, errors.ExtractorFailed):
        assert not kind.permanent
    for words in (*SITE, *LATE):
        assert words.source
        re.compile(words.pattern)


def test_what_an_older_version_called_permanent_is_tried_again(tmp_path: Path) -> None:
    """Version 0.1.0 recorded a 403, and "no format", as permanent."""
    Tables(tmp_path).write("videos", [{"video_id": v, "url": f"https://h/{v}"} for v in "abcdef"])
    recorded = {
        "a": ("forbidden", "unable to download video data: HTTP Error 403: Forbidden"),
        "b": ("unsupported", "[youtube] b: Requested format is not available. Use --list-formats for a list"),
        "c": ("unsupported", "Unsupported URL: https://h/c"),
        "d": ("removed", "[youtube] d: Video unavailable"),
        "e": ("unsupported", "[x] e: No video formats found!"),
    }
    Outcomes(tmp_path).write(
        Outcome("download", video, "failed", error_class=name, permanent=True, message=message)
        for video, (name, message) in recorded.items()
    )
    assert [wanted.video_id for wanted in missing_media(tmp_path)] == ["a", "b", "e", "f"]
    assert class_now(*recorded["b"]) == "format_unavailable"
    assert class_now(*recorded["c"]) == "unsupported"
    assert not still_permanent(*recorded["a"], recorded=True)
    assert still_permanent(*recorded["d"], recorded=True)
    assert not still_permanent("removed", "", recorded=False)
