"""The section `source` of the settings: which table is read, and how."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from reelmill.flows.settings.values import Address, LocalPath, Section, Table
from reelmill.pipeline.sources import Dialect, Format
from reelmill.pipeline.sources.dialect import encoding_named
from reelmill.pipeline.sources.moments import Unit


def _separator(value: str | None) -> str | None:
    """One character, or a double colon. Raises ValueError."""
    value = {"tab": "\t", "\\t": "\t"}.get(value or "", value)
    if value is not None and value != "::" and (len(value) != 1 or not value.isascii() or value in '\r\n"'):
        raise ValueError("give one character such as ; or tab, or ::")
    return value


def _encoding(value: str | None) -> str | None:
    """The one spelling of an encoding. Raises ValueError."""
    return None if value is None else encoding_named(value)


def _quote(value: str | None) -> str | None:
    """One character, or none. Raises ValueError."""
    if value not in (None, "none") and (len(value) != 1 or not value.isascii() or value in "\r\n"):
        raise ValueError("give one character such as ', or none")
    return value


class SourceSettings(Section):
    """Where the records come from."""

    path: LocalPath
    """Table that says who liked what; for format folder, a folder of videos or one video."""
    format: Literal[Format, "folder"] = "mapped"
    """A published layout by name; mapped: CSV, TSV, Parquet or JSON lines by `mapping`; folder: videos."""
    mapping: Annotated[dict[str, str], Table] = Field(default_factory=dict)
    """For mapped, {our column: your column}: {user_id: uid, video_id: clip, start_s: from, stop_s: to, url: link}."""
    header: bool | list[str] | None = None
    """Whether the first line of a text table names the columns (else 1, 2 …), or their names; by default found."""
    separator: Annotated[str | None, AfterValidator(_separator)] = None
    """Between the columns of a text table: one character (tab for a tabulator), or `::`."""
    encoding: Annotated[str | None, AfterValidator(_encoding)] = None
    """Encoding of a text table, such as utf-8, latin-1 or gb18030."""
    quote: Annotated[str | None, AfterValidator(_quote)] = None
    """Character around fields of a text table that hold separators or line ends, or none."""
    time_unit: Unit | None = None
    """Unit of times that are numbers (date: 20200705); by default it is found on the whole column, and shown."""
    url_template: Address = None
    """Address of a video if the table has none, such as https://example.org/{video_id}.mp4."""
    name: str | None = None
    """Name of the source in the tables, by default the file name. Reading a source again replaces its rows."""

    def dialect(self) -> Dialect:
        """What is said of the form of a text table."""
        header = tuple(self.header) if isinstance(self.header, list) else self.header
        return Dialect(header, self.separator, self.encoding, self.quote)
