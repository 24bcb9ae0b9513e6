"""The settings: a typed section for each part of the job, and for each key its meaning and its default.

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
"""User name and password in an address."""


def home(text: str) -> str:
    """Expand `~` and `~user`, as a shell does."""
    return os.path.expanduser(text)  # noqa: PTH111 (that of Path raises for an unknown user)


def _local(value: Any) -> Any:
    """A path on this machine, `~` expanded. Raises ValueError for a URL, before Path turns its `//` into `/`."""
    if isinstance(value, str) and "://" in value and not value.startswith("file://"):
        raise ValueError("must be a path on this machine, not a URL")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("a path cannot contain a NUL character")
    return home(value.removeprefix("file://")) if isinstance(value, str) else value


def _anywhere(value: Any) -> Any:
    """A path on this machine, `~` expanded, or the URL of an object store. Raises ValueError if it cannot be a root."""
    text = str(value) if isinstance(value, Path) else value
    if not isinstance(text, str):
        return text
    if "\0" in text:
        raise ValueError("a path cannot contain a NUL character")
    try:
        return str(place(home(text)))
    except InputError as error:
        raise ValueError(str(error)) from None


AnyPlace = Annotated[str, BeforeValidator(_anywhere)]


def _veiled(address: str | None) -> str | None:
    """An address without its user name and password: Prefect stores the parameters of its flows as JSON."""
    return None if address is None else LOGIN.sub(r"\1***@", address)


def _readable(value: Any) -> Any:
    """A secret as it was written. Raises ValueError for one that was masked on the way."""
    if value == MASKED:
        raise ValueError("this is a masked secret; give it in the environment, as REELMILL__DOWNLOAD__PROXY")
    return value


MASKED = str(SecretStr("any"))
Address = Annotated[str | None, PlainSerializer(_veiled, when_used="json")]

LocalPath = Annotated[Path, BeforeValidator(_local)]
Table = BeforeValidator(lambda value: {} if value is None else value)


class Section(BaseModel):
    """A part of the settings. Unknown keys are refused; the docstring below a field is its description."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_written(cls, value: Any) -> Any:
        """A section with nothing after its colon has the defaults."""
        return {} if value is None else value


class SourceSettings(Section):
    """Where the records come from."""

    path: LocalPath
    """Table that says who liked what; for format folder, a folder of videos or one video."""
    format: Literal["phd2", "movielens", "mapped", "folder"] = "mapped"
    """phd2: the PHD² CSV; movielens: ratings; mapped: CSV, TSV, Parquet or JSON lines by `mapping`; folder: videos."""
    mapping: Annotated[dict[str, str], Table] = Field(default_factory=dict)
    """For mapped, {our column: your column}: {user_id: uid, video_id: clip, start_s: from, stop_s: to, url: link}."""
    url_template: Address = None
    """Address of a video if the table has none, such as https://example.org/{video_id}.mp4."""
    name: str | None = None
    """Name of the source in the tables, by default the file name. Reading a source again replaces its rows."""


class DownloadSettings(Section):
    """How videos are downloaded with yt-dlp."""

    max_height: int = Field(360, gt=0)
    """Maximum height in pixels. No network has an input that gains from more."""
    format: str | None = None
    """A yt-dlp format selector. By default: H.264 with AAC up to max_height, or the nearest to it."""
    max_bytes: int = Field(2 << 30, gt=0)
    """Maximum size of a file, in bytes."""
    max_duration_s: float | None = None
    """Maximum length of a video, as its page states it, in seconds."""
    max_seconds: float = Field(1800.0, gt=0)
    """Maximum time for one video, including all tries and pauses, in seconds."""
    workers: int = Field(4, gt=0, le=64)
    """Number of parallel downloads."""
    attempts: int = Field(4, gt=0)
    """Number of tries if a failure is transient (network, 5xx, rate limit), with growing pauses."""
    backoff_s: float = Field(2.0, ge=0)
    """Pause before the second try in seconds, doubled before each further one."""
    max_wait_s: float = Field(120.0, ge=0)
    """If a host asks for a longer pause (in seconds), its videos are left to the next run."""
    socket_timeout_s: float = Field(20.0, gt=0)
    """Maximum time without data on a connection, in seconds."""
    per_host_interval_s: float = Field(1.0, ge=0)
    """Minimum time between two requests to one host, over all downloads into the root, in seconds."""
    rate_limit_bytes: int | None = None
    """Maximum rate of each download, in bytes per second."""
    cookies_file: LocalPath | None = None
    """File of cookies in Netscape format, for videos that need a login."""
    proxy: Annotated[SecretStr, BeforeValidator(_readable)] | None = None
    """Address of a proxy; its password is never shown. Without it, HTTPS_PROXY and the like are used."""
    allow_private_addresses: bool = False
    """Also download from loopback and private networks. Off, because a redirect could reach into yours."""
    schemes: tuple[str, ...] = ("http", "https")
    """URL schemes that may be downloaded."""
    allowed_extractors: tuple[str, ...] | None = None
    """Regular expressions for the names of yt-dlp's extractors that may be used, such as [youtube]; by default all."""
    allow_local: bool = True
    """Read an address without a scheme as a file on this machine. Turn it off for tables that others wrote."""
    copy_local: bool = False
    """Copy local files into the root, instead of reading them where they are."""
    memory_bytes: int | None = Field(2 << 30, gt=0)
    """Maximum memory of a download process, in bytes."""


class SegmentSettings(Section):
    """The grid of segments and the rule for labels."""

    segment_ms: int = Field(5000, ge=100)
    """Length of a segment, in milliseconds."""
    theta: float = Field(0.5, ge=0, lt=1)
    """A record labels a segment if it covers strictly more than this share of it."""


def _own_settings(value: Any) -> Any:
    """{name: settings}, each of the extractor's own class. Raises ValueError."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("give a table of extractors, such as {c3d: {}}")
    try:
        return {name: _settings_of(name, given) for name, given in value.items()}
    except InputError as error:
        raise ValueError(str(error)) from None


def _settings_of(name: Any, given: Any) -> ExtractorSettings:
    if isinstance(given, ExtractorSettings):
        return given
    if given is not None and not isinstance(given, dict):
        raise InputError(f"extractor {name!r}: give its settings as a table, such as {{layers: [fc6]}}, or nothing")
    return settings_for(str(name), given or {})


def _plain_settings(chosen: dict[str, ExtractorSettings]) -> dict[str, Any]:
    return {name: settings.to_dict() for name, settings in chosen.items()}


Extractors = Annotated[dict[str, Any], BeforeValidator(_own_settings), PlainSerializer(_plain_settings)]
"""{name: `ExtractorSettings`}, each of the extractor's own class."""


class ExtractSettings(Section):
    """How features are extracted."""

    extractors: Extractors = Field(default_factory=lambda: {"c3d": settings_for("c3d", {})})
    """Extractors by name, each with settings of its own, or none: c3d: {}, or vgg19: {layers: [fc6, fc7]}."""
    rows: Literal["segment", "window"] = "segment"
    """For frames. segment: a row for each segment, the mean of its windows; window: a row for each window."""
    decoder: Literal["pyav", "decord", "torchcodec"] = "pyav"
    """pyav decodes every frame exactly; decord and torchcodec are for comparison (see pipeline/README.md)."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic. auto: bfloat16 if the hardware supports it. Part of the spec, since values differ slightly."""
    compile: bool = False
    """Use torch.compile: a minute or more at the start, then somewhat faster. Part of the spec."""
    format: Literal["hdf5", "parquet"] = "hdf5"
    """File format of the feature stores."""
    workers: int = Field(1, gt=0, le=64)
    """Number of decoding processes."""
    block: int = Field(64, gt=0)
    """Number of videos in one block of work."""
    thumbnail_height: int = Field(180, ge=0)
    """Height in pixels of the key frame that is stored for each segment; 0: none is stored."""
    max_seconds: float = Field(6 * 3600.0, gt=0)
    """Maximum length of a video, in seconds."""
    max_pixels: int = Field(4096 * 2304, gt=0)
    """Maximum number of pixels in a frame."""
    wall_seconds: float = Field(3600.0, gt=0)
    """Maximum time to decode one video, in seconds; then its process is killed."""


class ModelSettings(Section):
    """One recommender."""

    stores: Annotated[str | dict[str, str], Table] = Field(default_factory=dict)
    """{role: feature store}, by name or unique prefix; empty leaves an optional role out. With one role: the store."""
    options: Annotated[dict[str, Any], Table] = Field(default_factory=dict)
    """Hyper-parameters, where they differ from the recommender's defaults: {epochs: 20, depth: 2}."""


class TrainSettings(Section):
    """Which recommenders are fitted, and on which stores."""

    models: Annotated[dict[str, ModelSettings], Table] = Field(default_factory=lambda: {"transgrec": ModelSettings()})
    """Recommenders by name, in the order in which they are fitted; `reelmill train --list` lists them."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    logger: Literal["tensorboard", "none"] = "tensorboard"
    """tensorboard: event files in the folder of each run; none: only its history.csv."""


class EngineSettings(Section):
    """What runs the blocks of `extract`."""

    runner: Literal["threads", "ray"] = "threads"
    """threads: this process, one block after another; ray: the workers of a Ray cluster (needs the extra `ray`)."""
    address: str | None = None
    """Address of a Ray cluster, such as ray://head:10001. By default one is started on this machine for the run."""
    workers: int | None = Field(None, gt=0)
    """Number of parallel tasks of a cluster on this machine; by default its number of CPUs."""
    cpus_per_task: int = Field(1, gt=0)
    """Number of CPUs for a block of videos."""
    gpus_per_task: float = Field(0, ge=0)
    """Number of GPUs for a block of videos; with 0.5, two blocks share one."""


class ServeSettings(Section):
    """What `reelmill serve` registers on a Prefect server."""

    name: str | None = None
    """Name of the deployments; by default that of the root's folder."""
    schedules: Annotated[dict[str, str], Table] = Field(default_factory=lambda: {"run": "0 2 * * *"})
    """{verb: cron} for run, extract, train and backfill. A verb without one is deployed too, and started by hand."""
    timezone: str = "UTC"
    """Time zone of the schedules, such as Europe/Vienna."""
    work_pool: str | None = None
    """Work pool whose workers do the runs. Without one, `reelmill serve` does them for as long as it runs."""
    concurrency: int = Field(1, gt=0)
    """Maximum number of parallel runs of one deployment. More than 1: several workers share the work on one root."""
    collision: Literal["enqueue", "cancel_new"] = "enqueue"
    """What happens to a run beyond that number: it waits (enqueue), or it is cancelled (cancel_new)."""
    tags: list[str] = Field(default_factory=list)
    """Tags of deployments and runs, in addition to `reelmill`."""
    attempts: int = Field(3, gt=0)
    """How often a run is started if its worker dies (no heartbeat for 90 s), before it counts as failed."""


class Settings(Section):
    """All settings of a job."""

    root: AnyPlace
    """Folder of tables, features, media and runs; or s3://bucket/name, with endpoint and keys in the environment."""
    source: SourceSettings | None = None
    """Where the records come from. Not needed to continue with what is in the root."""
    download: DownloadSettings = Field(default_factory=DownloadSettings)
    """How videos are downloaded."""
    segments: SegmentSettings = Field(default_factory=SegmentSettings)
    """The grid of segments and the rule for labels."""
    extract: ExtractSettings = Field(default_factory=ExtractSettings)
    """How features are extracted."""
    train: TrainSettings = Field(default_factory=TrainSettings)
    """Which recommenders are fitted, and on which stores."""
    engine: EngineSettings = Field(default_factory=EngineSettings)
    """What runs the blocks of `extract`."""
    serve: ServeSettings = Field(default_factory=ServeSettings)
    """What `reelmill serve` registers on a Prefect server."""
    report: AnyPlace = "report.html"
    """Path of the report page, relative to the root."""
    retry_failed: bool = False
    """Also retry permanent failures."""


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section in a field: the field itself, or the values of its dict; None if there is none."""
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
