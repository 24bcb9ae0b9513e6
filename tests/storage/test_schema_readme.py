"""`storage/README.md` describes the tables as `storage/schema.py` defines them."""

from pathlib import Path

from reelmill.storage.schema import ABOUT, SCHEMAS, UNIT, markdown

README = Path(__file__).parents[2] / "storage" / "README.md"


def test_every_table_is_described() -> None:
    assert SCHEMAS.keys() == ABOUT.keys() == UNIT.keys()
    text = markdown()
    for name, schema in SCHEMAS.items():
        assert f"#### `{name}`" in text
        assert UNIT[name] is None or not schema.field(UNIT[name]).nullable
        for field in schema:
            assert f"| `{field.name}` | `{field.type}`" in text
            assert field.metadata[b"doc"].strip(), f"{name}.{field.name} says nothing"


def test_the_readme_shows_the_tables() -> None:
    text = README.read_text()
    assert text.count("<!-- tables -->") == 1, "storage/README.md has no marker <!-- tables -->"
    shown = text.split("<!-- tables -->")[1].split("<!-- /tables -->")[0].strip()
    assert shown == markdown().strip(), (
        "put the output of `python -c 'from reelmill.storage.schema import markdown; print(markdown())'` "
        "between <!-- tables --> and <!-- /tables --> in storage/README.md"
    )
