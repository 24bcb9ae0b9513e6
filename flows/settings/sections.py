"""The settings: one typed section a part of the job, every key with its meaning and its default.

`reelmill settings` prints them; `load` reads them from a file, the environment and the command line.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr, model_validator

from reelmill.extractors.core.settings import ExtractorSettings
from reelmill.extractors.registry import settings_for
from reelmill.storage.errors import InputError
from reelmill.storage.place import place

LOGIN = re.compile(r"(^|//)[^/?#\s]*@")
"""Name and password in an address."""


def home(text: str) -> str:
    """`~` and `~user` written out, as a shell does."""
    return os.path.expanduser(text)  # noqa: PTH111 (that of Path raises for an unknown user)


def _local(value: Any) -> Any:
    """A path on this machine, `~` included. Raises ValueError for other places, before Path takes `//` for `/`."""
    if isinstance(value, str) and "://" in value and not value.startswith("file://"):
        raise ValueError("only paths on this machine can be given in this version")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("no path holds a NUL character")
    return home(value.removeprefix("file://")) if isinstance(value, str) else value


def _anywhere(value: Any) -> Any:
    """A path of this machine, `~` included, or a URL of an object store. Raises ValueError for one that is no root."""
    text = str(value) if isinstance(value, Path) else value
    if not isinstance(text, str):
        return text
    if "\0" in text:
        raise ValueError("no path holds a NUL character")
    try:
        return str(place(home(text)))
    except InputError as error:
        raise ValueError(str(error)) from None


AnyPlace = Annotated[str, BeforeValidator(_anywhere)]


def _veiled(address: str | None) -> str | None:
    """An address without who logs in there: Prefect keeps the parameters of its flows, as JSON."""
    return None if address is None else LOGIN.sub(r"\1***@", address)


def _readable(value: Any) -> Any:
    """A secret as it was written; ValueError for one that went through a place which does not keep them."""
    if value == MASKED:
        raise ValueError("this is a masked secret; give it in the environment, as REELMILL__DOWNLOAD__PROXY")
    return value


MASKED = str(SecretStr("any"))
Address = Annotated[str | None, PlainSerializer(_veiled, when_used="json")]

LocalPath = Annotated[Path, BeforeValidator(_local)]
Table = BeforeValidator(lambda value: {} if value is None else value)


class Section(BaseModel):
    """A part of the settings: unknown keys are refused, docstrings below a field describe it."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_written(cls, value: Any) -> Any:
        """A section with nothing after its colon is one of defaults."""
        return {} if value is None else value


class SourceSettings(Section):
    """Where the records come from."""

    path: LocalPath
    """Table of who liked what, or a folder or file of videos (format folder)."""
    format: Literal["phd2", "movielens", "mapped", "folder"] = "mapped"
    """phd2: its CSV; movielens: ratings files; mapped: any CSV, Parquet or JSONL by `mapping`; folder: media files."""
    mapping: Annotated[dict[str, str], Table] = Field(default_factory=dict)
    """For mapped: our column to yours, such as {user_id: uid, video_id: clip, start_s: from, stop_s: to, url: link}."""
    url_template: Address = None
    """Address of a video where the table has none, such as https://example.org/{video_id}.mp4."""
    name: str | None = None
    """Name of the source in the tables; the file name if not given. Reading a source again replaces its rows."""


class DownloadSettings(Section):
    """How videos are fetched with yt-dlp."""

    max_height: int = Field(360, gt=0)
    """Largest height in pixels; larger networks' inputs gain nothing from more."""
    format: str | None = None
    """A yt-dlp format selector instead of ours: H.264 with AAC up to max_height, else what comes nearest."""
    max_bytes: int = Field(2 << 30, gt=0)
    """Largest file."""
    max_duration_s: float | None = None
    """Longest video, by what its page claims."""
    max_seconds: float = Field(1800.0, gt=0)
    """Longest time for one video, all tries and pauses together."""
    workers: int = Field(4, gt=0, le=64)
    """Downloads at a time."""
    attempts: int = Field(4, gt=0)
    """Tries for a failure that may pass (network, 5xx, rate limit), with growing pauses."""
    backoff_s: float = Field(2.0, ge=0)
    """Pause before the second try, doubled for each further one."""
    max_wait_s: float = Field(120.0, ge=0)
    """A host that asks for a longer pause is left to the next run."""
    socket_timeout_s: float = Field(20.0, gt=0)
    """Longest silence of a connection."""
    per_host_interval_s: float = Field(1.0, ge=0)
    """Shortest pause between two requests to one host, over all downloads into the root."""
    rate_limit_bytes: int | None = None
    """Bytes a second for each download."""
    cookies_file: LocalPath | None = None
    """Cookies in Netscape format, for videos that need a login."""
    proxy: Annotated[SecretStr, BeforeValidator(_readable)] | None = None
    """Proxy address; its password is told nowhere. HTTPS_PROXY and the like of the environment count without it."""
    allow_private_addresses: bool = False
    """Fetch from loopback and private networks as well; off, because a redirect could reach into yours."""
    schemes: tuple[str, ...] = ("http", "https")
    """Schemes of addresses that may be fetched."""
    allowed_extractors: tuple[str, ...] | None = None
    """Regular expressions over yt-dlp's extractor names, such as [youtube]; all if not given."""
    allow_local: bool = True
    """Take an address without a scheme as a file on this machine; turn it off for tables that others wrote."""
    copy_local: bool = False
    """Copy local files into the root instead of using them where they are."""
    memory_bytes: int | None = Field(2 << 30, gt=0)
    """Private memory of a downloading process."""


class SegmentSettings(Section):
    """The grid and the label rule."""

    segment_ms: int = Field(5000, ge=100)
    """Length of a segment."""
    theta: float = Field(0.5, ge=0, lt=1)
    """A record labels a segment when it covers strictly more than this share of it."""


def _chosen(value: Any) -> Any:
    """{name: settings of the extractor's own class}. Raises ValueError."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("give a table of extractors, such as {c3d: {}}")
    try:
        return {name: _of_extractor(name, given) for name, given in value.items()}
    except InputError as error:
        raise ValueError(str(error)) from None


def _of_extractor(name: Any, given: Any) -> ExtractorSettings:
    if isinstance(given, ExtractorSettings):
        return given
    if given is not None and not isinstance(given, dict):
        raise InputError(f"extractor {name!r}: give its settings as a table, such as {{layers: [fc6]}}, or nothing")
    return settings_for(str(name), given or {})


def _said(chosen: dict[str, ExtractorSettings]) -> dict[str, Any]:
    return {name: settings.to_dict() for name, settings in chosen.items()}


Extractors = Annotated[dict[str, Any], BeforeValidator(_chosen), PlainSerializer(_said)]
"""{name: `ExtractorSettings`}, each of the extractor's own class."""


class ExtractSettings(Section):
    """How features are extracted."""

    extractors: Extractors = Field(default_factory=lambda: {"c3d": settings_for("c3d", {})})
    """Extractors by name, each with settings of its own, or none: c3d: {}, or vgg19: {layers: [fc6, fc7]}."""
    rows: Literal["segment", "window"] = "segment"
    """Of frames: one row a segment, its windows averaged; or one a window with its time."""
    decoder: Literal["pyav", "decord", "torchcodec"] = "pyav"
    """pyav is right throughout; decord and torchcodec are for comparison, see the README: which frame comes back."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic; auto is bfloat16 where the machine computes in it. Part of the spec: the numbers differ a little."""
    compile: bool = False
    """Compile the networks with torch.compile: a minute or more at the start, then a bit faster. Part of the spec."""
    format: Literal["hdf5", "parquet"] = "hdf5"
    """File format of the feature stores."""
    workers: int = Field(1, gt=0, le=64)
    """Decoding processes."""
    block: int = Field(64, gt=0)
    """Videos in one task."""
    thumbnail_height: int = Field(180, ge=0)
    """Height of the key frame kept of each segment; 0 keeps none."""
    max_seconds: float = Field(6 * 3600.0, gt=0)
    """Longest video."""
    max_pixels: int = Field(4096 * 2304, gt=0)
    """Most pixels a frame."""
    wall_seconds: float = Field(3600.0, gt=0)
    """Longest time to decode one video; then its process is killed."""


class ModelSettings(Section):
    """One recommender."""

    stores: Annotated[str | dict[str, str], Table] = Field(default_factory=dict)
    """{role: feature store}, by name or a prefix that fits one; empty leaves an optional role out. One name for one."""
    options: Annotated[dict[str, Any], Table] = Field(default_factory=dict)
    """Hyper-parameters that differ from the recommender's defaults, such as {epochs: 20, depth: 2}."""


class TrainSettings(Section):
    """Which recommenders are fitted, and on what."""

    models: Annotated[dict[str, ModelSettings], Table] = Field(default_factory=lambda: {"transgrec": ModelSettings()})
    """transgrec, jifr, prnet, multimodal, audiovisual (before it), drnn; their floors bpr, vbpr, fm, deepfm, fpmc."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    logger: Literal["tensorboard", "none"] = "tensorboard"
    """tensorboard: event files in each run's folder; none: its history.csv alone."""


class EngineSettings(Section):
    """Who runs the blocks of extract."""

    runner: Literal["threads", "ray"] = "threads"
    """threads: this process, one block after another; ray: the workers of a Ray cluster, which takes the extra ray."""
    address: str | None = None
    """Of a Ray cluster, such as ray://head:10001; none: one on this machine, started for the run."""
    workers: int | None = Field(None, gt=0)
    """Tasks at a time of a cluster on this machine; as many as it has CPUs if not given."""
    cpus_per_task: int = Field(1, gt=0)
    """CPUs that a block of videos takes."""
    gpus_per_task: float = Field(0, ge=0)
    """GPUs that a block takes: Ray gives each task its own; 0.5 puts two on one."""


class ServeSettings(Section):
    """What `reelmill serve` registers on a Prefect server."""

    name: str | None = None
    """Name of the deployments; that of the root's folder if not given."""
    schedules: Annotated[dict[str, str], Table] = Field(default_factory=lambda: {"run": "0 2 * * *"})
    """{verb: cron}, of run, extract, train, backfill; a verb without one is deployed as well, to be started by hand."""
    timezone: str = "UTC"
    """Of the schedules, such as Europe/Vienna."""
    work_pool: str | None = None
    """Work pool whose workers do the runs; none: `reelmill serve` itself does them, as long as it runs."""
    concurrency: int = Field(1, gt=0)
    """Runs of one deployment at a time; as many as there are workers to let them share the work on one root."""
    collision: Literal["enqueue", "cancel_new"] = "enqueue"
    """What becomes of a run that is one too many: it waits, or it is cancelled."""
    tags: list[str] = Field(default_factory=list)
    """Tags of deployments and runs, beside reelmill."""
    attempts: int = Field(3, gt=0)
    """How often a run is begun whose workers die (no sign of life for 90 s); then it fails."""


class Settings(Section):
    """Everything a run needs."""

    root: AnyPlace
    """Folder of tables, features, media and runs; or s3://bucket/name, endpoint and keys in the environment."""
    source: SourceSettings | None = None
    """Where the records come from; not needed to go on with what is in the root."""
    download: DownloadSettings = Field(default_factory=DownloadSettings)
    """Fetching."""
    segments: SegmentSettings = Field(default_factory=SegmentSettings)
    """Grid and labels."""
    extract: ExtractSettings = Field(default_factory=ExtractSettings)
    """Features."""
    train: TrainSettings = Field(default_factory=TrainSettings)
    """Fitting."""
    engine: EngineSettings = Field(default_factory=EngineSettings)
    """Workers."""
    serve: ServeSettings = Field(default_factory=ServeSettings)
    """Deployments on a server."""
    report: AnyPlace = "report.html"
    """Report page; a relative path starts at the root."""
    retry_failed: bool = False
    """Try permanent failures again."""


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, alone or many by name, if it holds any."""
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
