"""What a file or folder probably is, and which column of a table holds what: a settings file to begin with.

A column is taken for what its name says (`SYNONYMS`) if its values can be that; an address, a time, or the start and
stop of a range also by its values alone. Nothing else is guessed: what stays open is named in `missing`.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reelmill.pipeline.containers import SUFFIXES as MEDIA
from reelmill.pipeline.containers import not_a_video
from reelmill.pipeline.sources import layouts
from reelmill.pipeline.sources.dialect import suffix_of
from reelmill.pipeline.sources.head import Head, read_head
from reelmill.pipeline.sources.mapped import NEEDED
from reelmill.pipeline.sources.moments import EDGES
from reelmill.pipeline.sources.tables import SUFFIXES as TABLES
from reelmill.pipeline.sources.values import CLOCK, PERIOD
from reelmill.storage.errors import InputError
from reelmill.storage.schema import EVENT_KINDS

SYNONYMS: dict[str, tuple[str, ...]] = {
    "user_id": ("userid", "user", "uid", "viewerid", "viewer", "memberid", "member", "accountid", "account",
                "profileid", "profile", "customerid", "customer", "annotator", "rater", "person", "who", "username"),
    "video_id": ("videoid", "video", "vid", "youtubeid", "ytid", "clipid", "clip", "itemid", "item", "movieid", "movie",
                 "filmid", "film", "contentid", "content", "mediaid", "media", "videoname", "filename", "file", "path"),
    "start_s": ("start", "startsec", "starts", "startseconds", "starttime", "begin", "begintime", "from", "tstart",
                "startms", "beginms", "in", "offset"),
    "stop_s": ("stop", "stops", "stopsec", "stopseconds", "stoptime", "end", "endsec", "endseconds", "endtime", "until",
               "to", "tend", "stopms", "endms", "out"),
    "duration_s": ("duration", "durations", "durationsec", "durationms", "length", "len"),
    "video_duration_s": ("videoduration", "videodurations", "videodurationms", "videolength", "videolen", "cliplength",
                         "clipduration", "totalduration", "runtime"),
    "time": ("timestamp", "time", "ts", "datetime", "date", "createdat", "created", "watchedat", "ratedat", "when"),
    "value": ("rating", "score", "stars", "value", "grade", "watchratio"),
    "url": ("url", "link", "uri", "href", "address", "videourl", "source"),
    "title": ("title", "videotitle", "itemtitle"),
    "description": ("description", "videodescription"),
    "tags": ("tags", "hashtags", "keywords"),
    "categories": ("categories", "category", "genres", "genre"),
    "uploader": ("uploader", "channel", "author", "creator"),
    "kind": ("kind", "eventkind", "eventtype", "event", "action"),
}  # fmt: skip
"""{our column: how others call it, the surest name first}, in lower case without signs."""
ADDRESS = re.compile(r"(?i)^(https?|file)://|^www\.")
YOUTUBE = re.compile(r"[A-Za-z0-9_-]{11}")
ISO_TIME = re.compile(r"\d{4}([-/]\d{1,2}){2}([T ]\d{2}:\d{2}.*)?")
DAY = re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(\.0)?")
"""20200705"""
CLOCKS = (re.compile(CLOCK), re.compile(PERIOD))
UNIX = (EDGES[0], EDGES[-1])
"""Unix times of any unit."""
LONGEST_S = 20_000
"""A place in a video beyond five and a half hours, if all are whole numbers, is one in milliseconds."""
LONGEST_RANGE_S = 3600
"""Two columns without a telling name are a start and a stop if no range is longer."""
MOSTLY = 0.95
"""Share of the rows that must agree: some rows of a real table are always odd."""


@dataclass(frozen=True)
class Guess:
    """What a source probably is."""

    path: Path
    """The table, or the folder or file of videos."""
    format: str
    """phd2, movielens, mapped or folder."""
    mapping: dict[str, str] = field(default_factory=dict)
    """For mapped: our column to the table's, what is known of it."""
    reasons: dict[str, str] = field(default_factory=dict)
    """{our column: why}"""
    missing: tuple[str, ...] = ()
    """Needed columns that were not found."""
    unused: tuple[str, ...] = ()
    """Columns of the table that stand for nothing known."""
    url_template: str | None = None
    """Where the videos are, if their ids look like YouTube's."""


def guess(path: Path, given: Mapping[str, str] | None = None) -> Guess:
    """Look at a file or folder. `given`: what a person says of the mapping, which goes before any guess.

    Raises InputError if it is nothing that can be read, or several things."""
    if path.is_dir():
        inside = _in_folder(path)
        return guess(inside, given) if inside is not None else Guess(path, "folder")
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a table, or a folder or file of videos")
    suffix = suffix_of(path)
    if suffix in MEDIA:
        return Guess(path, "folder")
    if suffix not in TABLES:
        known = ", ".join(TABLES)
        raise InputError(f"{path} ends in {suffix!r}; give a table ({known}), MovieLens ratings, or videos")
    head = None
    if not given and suffix != ".parquet":
        head = read_head(path)
        layout = layouts.recognise(path)
        if layout is not None:
            return Guess(path, layout.format)
    return _mapped(path, head or read_head(path), dict(given or {}))


def _in_folder(path: Path) -> Path | None:
    """The one table of a folder; None if it holds videos instead."""
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    for names in (("ratings*", "interactions.*", "*.inter", "u.data"), tuple(f"*{suffix}*" for suffix in TABLES)):
        tables = [file for file in files if any(file.match(name) for name in names)]
        if len(tables) == 1:
            return tables[0]
        if tables:
            raise InputError(
                f"{path} holds several tables: {', '.join(file.name for file in tables)}; give one of them"
            )
    if any(not_a_video(file) is None for file in path.rglob("*")):
        return None
    raise InputError(f"{path} holds no table and no video; give a table ({', '.join(TABLES)}) or a folder of videos")


def _mapped(path: Path, head: Head, given: dict[str, str]) -> Guess:
    for ours, theirs in given.items():
        if theirs not in head.names and not theirs.startswith("="):
            raise InputError(f"{path} has no column {theirs!r} for {ours}; it has {', '.join(head.names)}")
    mapping, reasons = dict(given), dict.fromkeys(given, "as you said")
    for ours, names in SYNONYMS.items():
        if ours in given or ours.replace("_s", "_ms") in given:
            continue
        free = [name for name in head.names if name not in mapping.values()]
        called = {_plain(name): name for name in reversed(free)}
        found = next(
            (called[name] for name in names if name in called and CAN_BE[ours](head.filled(called[name]))), None
        )
        if found is not None:
            mapping[ours], reasons[ours] = found, "by its name"
    _by_values(head, mapping, reasons)
    _ranges(head, mapping, reasons)
    if "video_id" not in mapping and "url" in mapping:
        mapping["video_id"], reasons["video_id"] = mapping["url"], "the address identifies the video"
    videos = head.filled(mapping["video_id"]) if mapping.get("video_id") in head.names else []
    if "url" not in mapping and videos and all((path.parent / video).is_file() for video in videos[:3]):
        mapping["url"], reasons["url"] = mapping["video_id"], "files beside the table"
    youtube = "url" not in mapping and bool(videos) and all(YOUTUBE.fullmatch(video) for video in videos)
    order = [name for name in (*SYNONYMS, *given) if name in mapping or name.replace("_s", "_ms") in mapping]
    order = list(dict.fromkeys(name if name in mapping else name.replace("_s", "_ms") for name in order))
    return Guess(
        path,
        "mapped",
        {name: mapping[name] for name in order},
        {name: reasons[name] for name in order},
        tuple(name for name in NEEDED if name not in mapping),
        tuple(name for name in head.names if name not in mapping.values()),
        layouts.YOUTUBE if youtube else None,
    )


def _by_values(head: Head, mapping: dict[str, str], reasons: dict[str, str]) -> None:
    """Add an address and a time that only their values tell."""
    for ours, is_that in (("url", _addresses), ("time", _dates)):
        free = [name for name in head.names if name not in mapping.values() and is_that(head.filled(name))]
        if ours not in mapping and len(free) == 1:
            mapping[ours], reasons[ours] = free[0], "by its values"


def _ranges(head: Head, mapping: dict[str, str], reasons: dict[str, str]) -> None:
    """Start and stop by their values, if not by name; then their units, and whether a duration is the range's or the
    video's."""
    if not {"start_s", "start_ms", "value"} & {*mapping}:
        free = [name for name in head.names if name not in mapping.values() and _places(head.filled(name))]
        pairs = [(start, stop) for start in free for stop in free if start != stop and _is_range(head, start, stop)]
        if len(pairs) == 1:
            mapping["start_s"], mapping["stop_s"] = pairs[0]
            reasons |= dict.fromkeys(("start_s", "stop_s"), "by its values")
    if "start_s" not in mapping and "start_ms" not in mapping:
        for ours in ("stop_s", "duration_s"):  # without a start, a duration is that of the video
            name = mapping.pop(ours, None)
            if name is not None and ours == "duration_s" and "video_duration_s" not in mapping:
                mapping["video_duration_s"], reasons["video_duration_s"] = name, "by its name"
    elif {"stop_s", "stop_ms"} & {*mapping} and "duration_s" in mapping:
        name = mapping.pop("duration_s")
        start, stop = mapping.get("start_s"), mapping.get("stop_s")
        whole = start and stop and _is_range(head, stop, name, longest=math.inf)
        if whole and "video_duration_s" not in mapping:
            mapping["video_duration_s"], reasons["video_duration_s"] = name, "never below the stop"
    groups = (("start_s", "stop_s", "duration_s"), ("video_duration_s",))
    for group in groups:
        there = [ours for ours in group if ours in mapping and mapping[ours] in head.names]
        if there and _milliseconds([mapping[ours] for ours in there], head):
            for ours in there:
                unit = f"{ours[:-2]}_ms"
                mapping[unit], reasons[unit] = mapping.pop(ours), f"{reasons[ours]}, in milliseconds"


def _milliseconds(names: list[str], head: Head) -> bool:
    """Whether these columns of places or lengths are in milliseconds: by name, else whole numbers far too large."""
    if any(_plain(name).endswith(("ms", "millis", "milliseconds")) for name in names):
        return True
    numbers = [float(cell) for name in names for cell in head.filled(name) if _is_number(cell)]
    return bool(numbers) and max(numbers) > LONGEST_S and all(number.is_integer() for number in numbers)


def _is_range(head: Head, start: str, stop: str, longest: float = LONGEST_RANGE_S) -> bool:
    """Whether one column mostly lies before the other, and not too far: `longest` seconds."""
    longest *= 1000 if _milliseconds([start, stop], head) else 1
    cells = zip(head.columns[start], head.columns[stop], strict=True)
    places = [(_place(a), _place(b)) for a, b in cells]
    pairs = [(a, b) for a, b in places if a is not None and b is not None]
    right = sum(0 <= a < b and b - a <= longest for a, b in pairs)
    return bool(pairs) and right >= MOSTLY * len(pairs) and len({a for a, _ in pairs}) > 1


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _place(cell: str) -> float | None:
    """A place in a video, or a length: a number, or the seconds of 1:02:03.5 or PT4M13S; None for other cells."""
    if _is_number(cell):
        return float(cell)
    found = next((match for clock in CLOCKS if (match := clock.fullmatch(cell))), None)
    if found is None:
        return None
    part = {name: float(digits.replace(",", ".")) for name, digits in found.groupdict(default="0").items()
            if name != "sign" and digits}  # fmt: skip
    return part["h"] * 3600 + (part["m"] + part.get("mm", 0)) * 60 + part["s"]


def _is_moment(cell: str) -> bool:
    """A point in time."""
    if ISO_TIME.fullmatch(cell) or DAY.fullmatch(cell):
        return True
    return _is_number(cell) and bool(UNIX[0] < float(cell) < UNIX[1])


def _mostly(is_right: Callable[[str], object]) -> Callable[[list[str]], bool]:
    """A test of a column: enough of its cells pass."""
    return lambda cells: bool(cells) and sum(bool(is_right(cell)) for cell in cells) >= MOSTLY * len(cells)


_numbers = _mostly(_is_number)
_addresses = _mostly(ADDRESS.search)
_dates = _mostly(ISO_TIME.fullmatch)
_paths = _mostly(lambda cell: ADDRESS.search(cell) or Path(cell).suffix.lower() in MEDIA)
_texts = _mostly(str)
_kinds = _mostly(lambda cell: cell in EVENT_KINDS)
_times = _mostly(_is_moment)
_places = _mostly(lambda cell: _place(cell) is not None)
CAN_BE: dict[str, Callable[[list[str]], bool]] = {
    **dict.fromkeys(SYNONYMS, _texts),
    **dict.fromkeys(("start_s", "stop_s", "duration_s", "video_duration_s"), _places),
    "value": _numbers,
    "time": _times,
    "url": _paths,
    "kind": _kinds,
}
"""{our column: whether cells can be that}"""
