"""The settings: a typed section for each part of the job, and for each key its meaning and its default.

`reelmill settings` prints them; `load` reads them from a file, the environment and the command line.
"""

from dataclasses import asdict, fields, is_dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    SerializationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    with_config,
)

from reelmill.extractors.core.settings import ExtractorSettings
from reelmill.extractors.registry import settings_for
from reelmill.flows.settings.source import SourceSettings
from reelmill.flows.settings.values import MASKED, AnyPlace, Section, Table, local_path
from reelmill.pipeline.download.options import DownloadOptions
from reelmill.storage.errors import InputError


def _download(value: Any, convert: ValidatorFunctionWrapHandler) -> DownloadOptions:
    """The section `download` as it was written → its options. Raises ValueError."""
    if isinstance(value, DownloadOptions):
        return value
    if value is not None and not isinstance(value, dict):
        raise ValueError("give keys and values, such as {max_height: 360}")
    values = dict(value or {})
    if isinstance(proxy := values.get("proxy"), SecretStr):
        values["proxy"] = proxy.get_secret_value()
    elif proxy == MASKED:
        raise ValueError("proxy: this is a masked secret; give it in the environment, as REELMILL__DOWNLOAD__PROXY")
    try:
        values["cookies_file"] = local_path(values.get("cookies_file"))
    except ValueError as error:
        raise ValueError(f"cookies_file {values['cookies_file'][:160]!r}: {error}") from None
    try:
        options: DownloadOptions = convert(values)
    except InputError as error:
        raise ValueError(str(error)) from None
    return options


def _shown_download(options: DownloadOptions, info: SerializationInfo) -> dict[str, Any]:
    """Plain values in which the proxy is a secret, and masked in JSON, such as the parameters that Prefect stores."""
    proxy = None if options.proxy is None else SecretStr(options.proxy)
    return {**asdict(options), "proxy": str(proxy) if proxy and info.mode_is_json() else proxy}


def _password_field(schema: dict[str, Any]) -> None:
    """Prefect's forms hide what is typed for the proxy."""
    schema["properties"]["proxy"] |= {"format": "password", "writeOnly": True}


# For pydantic, which the pipeline does not know: how to read the options from a settings file.
with_config({**Section.model_config, "json_schema_extra": _password_field})(DownloadOptions)
Download = Annotated[DownloadOptions, WrapValidator(_download), PlainSerializer(_shown_download)]


class SegmentSettings(Section):
    """The grid of segments and the rule for labels."""

    segment_ms: int = Field(5000, ge=100, le=86_400_000)
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
    pixels: Literal["display", "coded"] = "display"
    """display: frames as they are shown; coded: as they are stored, squeezed if their pixels are not square."""
    video_stream: int | None = Field(None, ge=0)
    """Index of the stream of picture, where a file has several; by default the best one. Files are measured again."""
    audio_stream: int | None = Field(None, ge=0)
    """Index of the stream of sound, where a file has several; by default the one flagged as default, or the first."""
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
    thumbnail_height: int = Field(180, ge=0, le=8640)
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
    sources: list[str] = Field(default_factory=list)
    """Names of the sources to fit on. By default all that the root has; those that share ids have to be named."""
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
    download: Download = Field(default_factory=DownloadOptions)
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


def options_of(annotation: Any) -> type | None:
    """The dataclass of options that a field holds, such as `DownloadOptions`; None if it holds something else."""
    return annotation if isinstance(annotation, type) and is_dataclass(annotation) else None


def keys_of(annotation: Any) -> list[str]:
    """Names of the keys of a section; none for a field that is not a section."""
    if (options := options_of(annotation)) is not None:
        return [field.name for field in fields(options)]
    section = section_of(annotation)
    return [] if section is None else [*section.model_fields]
