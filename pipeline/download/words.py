"""What sites, and yt-dlp about them, say when they refuse a video: one table of patterns, each with its class and where
the words come from. A new wording is one line here.

The tables are read from the top, and the first pattern that matches counts, so the more certain one stands first: "not
available in your country" before "not available". `SITE` is searched before the status of HTTP, `LATE` after it.
"""

import re
from typing import NamedTuple

from reelmill.pipeline import errors


class Words(NamedTuple):
    """A wording. `pattern`: a regular expression, upper and lower case alike. `source`: who says it. `if_expected`: it
    counts only if the extractor expected it; otherwise "no video found" may mean that the site has changed."""

    pattern: str
    error: type[errors.VideoError]
    source: str
    if_expected: bool = False


SITE: tuple[Words, ...] = (
    # This machine.
    Words(r"no space left on device|disk quota exceeded", errors.OutOfSpace, "the system"),
    # The state of the host or of our address there, which says nothing about the video.
    Words(r"not a (ro)?bot\b|captcha|try again later|unusual traffic|rate.?limit|rate.?exceeded", errors.RateLimited,
          "YouTube, Vimeo, several"),
    Words(r"\bip( address)? (is|has been|was) (likely )?(being )?(blocked|banned)|blocked (your|this) ip\b",
          errors.RateLimited, "TikTok, YouTube"),
    Words(r"request is (blocked|rejected) by server|too many requests|play limit|wait (a while )?and try|"
          r"receiving data. try again", errors.RateLimited, "BiliBili, Mixcloud, Youku"),
    Words(r"tls fingerprint|impersonat|client challenge|ip address is unable|referer|not necessarily logged.?in",
          errors.Forbidden, "generic, Reddit, Vimeo, TikTok"),
    Words(r"requested format is not available|no (video |suitable |supported |playable )?formats? (were |are |is )?"
          r"(found|available)|only images are available|could not find (any video|suitable) formats",
          errors.FormatUnavailable, "yt-dlp's choice of a format, several"),
    # Who may see it.
    Words(r"confirm your age|age.?restricted|age.?verif|adult verification|inappropriate for some users|"
          r"users older than|only available after \d|nsf[wl]\b|sensitive content|adults? only", errors.AgeRestricted,
          "YouTube, AfreecaTV, Twitter, ARD"),
    # Live, announced, or not ready.
    Words(r"will (begin|start)\b|premieres? (in|on|at)\b|premiere will|(scheduled|due) (to start|for)\b|"
          r"not (currently )?live|is offline|now offline|is upcoming|live (event|broadcast|stream) (has )?ended|"
          r"not (yet )?(started|begun)|(has|have)(n.t| not) (yet )?(started|begun|aired)|not (yet )?live\b|"
          r"no active streams?|maybe it.s offline|(not|n.t) available yet|not yet available|available (shortly|soon)|"
          r"coming soon|(will be|becomes?) available|still (be )?(uploading|processing)|"
          r"(is|being) (processing|processed|encoded|transcoded)\b|"
          r"not downloadable yet|private show|"
          r"auto-playing vods|cannot find on-air", errors.NotYet,
          "YouTube, Twitch, niconico, Twitter Spaces, UserNotLive, several"),
    Words(r"\b(in|from|to|for) (your|this) (country|region|location|area)|geo.?(restrict|block)|"
          r"only (available|licensed|viewable).{0,20}\bin (?-i:[A-Z])|only licensed to users in|"
          r"available in [a-z ]+ only|login region|blocked by decision of|video restricted to",
          errors.GeoBlocked, "raise_geo_restricted, GeoRestrictedError, Youku, NRK, generic"),
    Words(r"video.password", errors.Private, "Vimeo, Zoom, Loom, several"),
    # Our account there does not work, which says nothing about the video either.
    Words(r"(unable|failed) to log.?in|login failed|failed to (refresh|retrieve account)|authorization lost|"
          r"(invalid|wrong|incorrect).{0,30}(user ?name|password|credentials)|(password|username).{0,30}incorrect|"
          r"token.{0,20}(expired|invalid|not valid)|(expired|invalid).{0,10}token", errors.Forbidden,
          "extractors that log in"),
    Words(r"password|passcode|user ?name", errors.Private, "Vimeo, Zoom, Panopto, several"),
    Words(r"(video|album|post|account|vod|playlist|subreddit|tweet|content|clip|recording|stream) (is |may be )?"
          r"(private|locked|protected)|(private|protected|quarantined) (video|album|post|playlist|subreddit|tweet|"
          r"account)|"
          r"(track|video|content) (\S+ )?is (restricted|locked)|contents? locked",
          errors.Private, "YouTube, Vimeo, TikTok, Twitter, Reddit"),
    Words(r"members?.only|supporter.only|join this channel|registered users|subscri(ber|ption|bed)|\bsubscribe to\b|"
          r"only (available )?(for|to) .{0,20}(members|users|customers)|\bvip\b|"
          r"premium|requires? payment|rental|purchase|\bpaid\b|have to pay|not free|ticket", errors.Private,
          "YouTube, Nebula, Patreon, Udemy, several"),
    Words(r"log.?in\b|logged.?in|log into|sign.?in\b|signed in|account credentials|cookies|authenticat|authoriz|"
          r"access.?tokens?|token (has |is )?(already )?(expired|invalid)|tokens? have been|expired token|"
          r"account (is )?(needed|required|does not have|is not)|(have|has) (no |not )?(the )?(access|permission)|"
          r"not have (access|permission)|access (to .{0,30})?(is )?(denied|forbidden)|use the --\w+-password",
          errors.Private, "raise_login_required, several"),
    # Gone.
    Words(r"\b(id|ids|data|metadata|information|urls?|tokens?|elements?)\b.{0,10} not found|"
          r"not found in (the )?(web)?page",
          errors.ExtractorFailed, "several, of their own search in a page"),
    Words(r"(video|track|song|post|clip|content|stream|episode|event|media|vod|recording|page|livestream|user|channel|"
          r"show|podcast|station|broadcast|account|lecture|space)s?( #?\S+)?"
          r"( (is|was|has been|have been|with id \S+|id))? (currently )?"
          r"(unavailable|removed|deleted|not found|inaccessible|unplayable|expired)", errors.Removed,
          "YouTube, several"),
    Words(r"(video|track|clip|content|stream|livestream|post|episode|media|it) (\S+ )?(is|was|are)?\s?"
          r"(currently )?(not|n.t) available|this video is not available", errors.Removed,
          "YouTube, TikTok, Facebook"),
    Words(r"no longer (available|exists?|online)|does(n.t| not) exist|not exist\b|no such\b|link is expired|"
          r"(been|account|was) (removed|deleted|terminated|suspended|closed|expired|disabled)|has expired|"
          r"likely expired|copyright|taken down|rights expired|replay is disabled|broadcast rights|\bhas ended\b|"
          r"was ended|not archived|no archive|neither archive|unable to access this video|can.t be accessed|"
          r"not been made available",
          errors.Removed, "YouTube, Arte, niconico, Twitter Spaces, several"),
    # What cannot be fetched, whoever asks.
    Words(r"file:// urls are disabled|no connection adapters|unsupported url scheme", errors.UnsafeUrl, "yt-dlp"),
    Words(r"\bdrm\b", errors.Unsupported, "yt-dlp, several"),
    Words(r"unsupported url|not a valid url|invalid url|url is missing|looks truncated|without video id|blob url|"
          r"no suitable extractor|unusual and will be skipped|unsafe file extension|unable to handle request|"
          r"forget to quote the url|url does not", errors.Unsupported, "yt-dlp, generic"),
    Words(r"initialization fragment found after media fragments", errors.Unsupported, "yt-dlp's HLS: two EXT-X-MAP"),
    Words(r"(no|not a|without|does(n.t| not) (contain|have)) (any |a |an )?(supported |embedded |valid |active )?"
          r"(video|audio|media|tracks?|sources?|mediastream|vimeo)|\bno videos?\b|nor audio|not a podcast|"
          r"(is |are |currently )(not |no longer |un)supported|not supported\b|website is (not|no longer)|"
          r"unsupported (clip|embed|entity|manifest|media|page|playback|player|playlist|showcase|api|language)|"
          r"not found\. please install|phantomjs", errors.Unsupported, "several", if_expected=True),
)  # fmt: skip
"""Searched before the status of HTTP."""

LATE: tuple[Words, ...] = (
    Words(r"bytes read|content too short|downloaded \d+ bytes, expected|did not get any data|"
          r"(downloaded )?file is empty|incomplete data", errors.CutShort, "yt-dlp's downloaders"),
    Words(r"timed? ?out|connection.{0,20}(refused|reset|aborted|broken|closed)|remote end closed|name resolution|"
          r"failed to resolve|getaddrinfo|unreachable|no route to host|\bssl\b|certificate|eof occurred|proxy|"
          r"network error|giving up retrying|disconnected", errors.Network, "the system, yt-dlp's network"),
    Words(r"service (is )?(temporarily )?unavailable|internal (server )?error", errors.ServerError, "several"),
    Words(r"(unable|failed) to (extract|find|get|parse|fetch|obtain|decode|decrypt|solve|resolve|recogni[sz]e|"
          r"construct|load|download|calculate|retrieve)|(could not|cannot|can.t|can not|couldn.t) (extract|find|"
          r"identify|parse|get|decrypt|retrieve)|unexpected|please report this issue", errors.ExtractorFailed,
          "yt-dlp, of what its extractors did not understand"),
)  # fmt: skip
"""Searched last: the words of the transport, and of an extractor that does not understand the site."""


def first(table: tuple[Words, ...], text: str, expected: bool = True) -> type[errors.VideoError] | None:
    """The class of the first wording of this table that the text contains. `expected`: whether the extractor expected
    the error, so that it is the site which refuses."""
    able = (words for words in table if expected or not words.if_expected)
    return next((words.error for words in able if re.search(words.pattern, text, re.IGNORECASE)), None)


def class_now(error_class: str | None, message: str | None) -> str:
    """The class that a recorded failure of a download has today. Version 0.1.0 recorded "no format" as `unsupported`,
    which is permanent, although it is often the state of the host; every other class is as it was recorded."""
    if error_class == errors.Unsupported.error_class and first(SITE, message or "") is errors.FormatUnavailable:
        return errors.FormatUnavailable.error_class
    return error_class or errors.VideoError.error_class


def still_permanent(error_class: str | None, message: str | None, recorded: bool) -> bool:
    """Whether a failure that was recorded as permanent (`recorded`) still is: a class that is no longer permanent, such
    as `forbidden`, is tried again by the next run."""
    known = errors.BY_CLASS.get(class_now(error_class, message))
    return recorded and (known is None or known.permanent)
