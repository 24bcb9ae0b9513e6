"""One typed, documented settings file. Later sources win: defaults, the YAML file, the environment, `--set`.

    REELMILL__EXTRACT__DEVICE=cpu reelmill run settings.yaml --set extract.workers=2

An unknown key is an error that names the nearest known one. `reelmill settings` prints every key with its meaning.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from storage.errors import InputError, nearest

PREFIX = "REELMILL__"


WEIGHT_FILES = (".pt", ".pth", ".pickle", ".pkl", ".pyth", ".npy", ".safetensors")
"""By these `weights` is a path, also without a slash."""


def _local(value: Any) -> Any:
    """A path on this machine, `~` included. Raises ValueError for other places, before Path takes `//` for `/`."""
    if isinstance(value, str) and "://" in value and not value.startswith("file://"):
        raise ValueError("only paths on this machine can be given in this version")
    return _home(value.removeprefix("file://")) if isinstance(value, str) else value


def _home(text: str) -> str:
    return os.path.expanduser(text)  # noqa: PTH111 (that of Path raises for an unknown user)


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
    url_template: str | None = None
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
    proxy: str | None = None
    """Proxy address."""
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


class ExtractorSettings(Section):
    """One network."""

    layers: list[str] | None = None
    """Layers to store; the extractor's default if not given."""
    windows: int | None = Field(None, gt=0)
    """Windows a segment, evenly spaced; every one if not given."""
    step_ms: float | None = Field(None, gt=0)
    """Time between frames of i3d (40 ms if not given), i3d_r50 (267 ms) and vgg19 (1000 ms); not of c3d."""
    weights: str = "default"
    """default: the published checkpoint; its name; the path of a file; or random: seeded, for trying out."""
    weights_sha256: str | None = None
    """Hash of the checkpoint file that you trust, where none was published (i3d_r50, some C3D files)."""
    seed: int | None = Field(None, ge=0)
    """Of random weights."""
    channel_order: Literal["RGB", "BGR"] | None = None
    """For c3d: what its first layer expects, where a checkpoint's record has it wrong."""
    mean_file: LocalPath | None = None
    """For c3d: the published mean volume as .npy, (3, 16, 128, 171) in BGR, instead of one mean a channel."""
    batch_size: int | None = Field(None, gt=0)
    """Windows a forward pass; by device if not given."""


class ExtractSettings(Section):
    """How features are extracted."""

    extractors: Annotated[dict[str, ExtractorSettings], Table] = Field(
        default_factory=lambda: {"c3d": ExtractorSettings()}
    )
    """Networks to run: c3d, i3d, i3d_r50, vgg19."""
    rows: Literal["segment", "window"] = "segment"
    """One row a segment, its windows averaged; or one a window with its time."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic; auto is bfloat16 where the machine computes in it. Part of the spec: the numbers differ a little."""
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


class TrainSettings(Section):
    """Which recommender is fitted on which store."""

    model: str = "transgrec"
    """Recommender."""
    store: str = "c3d-fc6"
    """Feature store, by name or by a prefix that fits one store."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    options: Annotated[dict[str, Any], Table] = Field(default_factory=dict)
    """Hyper-parameters that differ from the model's defaults, such as {epochs: 20, layers: 2}."""


class Settings(Section):
    """Everything a run needs."""

    root: LocalPath
    """Folder of tables, features, media and runs."""
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
    report: LocalPath = Path("report.html")
    """Report page; a relative path starts at the root."""
    retry_failed: bool = False
    """Try permanent failures again."""


def load(path: Path | None = None, overrides: Sequence[str] = (), base: Mapping[str, Any] | None = None) -> Settings:
    """Settings from a YAML file, the environment, and `key.sub=value` overrides (values are YAML).

    Relative paths in the file start at the file's folder. Raises InputError naming the key and the rule.
    """
    values: dict[str, Any] = dict(base or {})
    if path is not None:
        values = _merge(values, _read(path))
        _anchor(values, path.resolve().parent)
    for name, text in sorted(os.environ.items()):
        if name.startswith(PREFIX):
            _put(values, name.removeprefix(PREFIX).lower().split("__"), _value(text), name)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"--set {override!r}: give key=value, such as --set extract.device=cpu")
        _put(values, key.split("."), _value(text), f"--set {key}")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise InputError(_explain(error)) from None


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, if it holds one."""
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except IsADirectoryError:
        raise InputError(f"settings file {path} is a folder; give the file in it") from None
    except UnicodeDecodeError:
        raise InputError(f"settings file {path} is not text in UTF-8; give a YAML file") from None
    except FileNotFoundError:
        raise InputError(f"settings file {path} does not exist; `reelmill settings > {path}` writes one") from None
    except yaml.YAMLError as error:
        raise InputError(f"settings file {path} is not YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"settings file {path} holds {type(values).__name__}, expected keys and values")
    return values


def _anchor(values: dict[str, Any], folder: Path) -> None:
    """Make the file's relative paths independent of where the command is typed."""
    networks = _inside(values, "extract", "extractors")
    places = [(values, "root"), (_inside(values, "source"), "path"), (_inside(values, "download"), "cookies_file")]
    for network in (_inside(networks, name) for name in networks):
        weights = str(network.get("weights"))
        places += [(network, "mean_file")] + [(network, "weights")] * ("/" in weights or weights.endswith(WEIGHT_FILES))
    for section, key in places:
        if isinstance(section.get(key), str) and "://" not in section[key]:
            section[key] = str(folder / _home(section[key]))


def _inside(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The section under these keys as it was written; an empty one where there is none."""
    inner: Any = values
    for key in keys:
        inner = inner.get(key) if isinstance(inner, dict) else None
    return inner if isinstance(inner, dict) else {}


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(dict(merged[key]), value) if both else value
    return merged


def _put(values: dict[str, Any], keys: Sequence[str], value: Any, what: str) -> None:
    for key in keys[:-1]:
        inner = values.get(key)
        if inner is None:
            inner = values[key] = {}
        if not isinstance(inner, dict):
            raise InputError(f"{what}: {key!r} is a value, not a section")
        values = inner
    values[keys[-1]] = value


def _value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        where = [str(part) for part in problem["loc"]]
        if problem["type"] == "extra_forbidden":
            known = list(_model_at(where[:-1]).model_fields)
            lines.append(f"setting {'.'.join(where)!r} is not known; {nearest(where[-1], known)}")
        elif problem["type"] == "missing":
            lines.append(f"setting {'.'.join(where)!r} is missing; give it in the file or by --set {'.'.join(where)}=…")
        else:
            rule = problem["msg"].removeprefix("Value error, ")
            lines.append(f"setting {'.'.join(where)}: {rule} (given: {problem['input']!r})")
    return "\n".join(lines)


def _model_at(keys: Sequence[str]) -> type[BaseModel]:
    model: type[BaseModel] = Settings
    for key in keys:
        if key in model.model_fields:
            model = section_of(model.model_fields[key].annotation) or model
    return model
