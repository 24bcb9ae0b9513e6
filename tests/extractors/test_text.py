"""From text to vectors and into stores: words, word vectors, the sentence network, what a root keeps."""

import gzip
import hashlib
import io
import os
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.metrics import roc_auc_score

from reelmill.extractors.core.settings import Compute
from reelmill.extractors.registry import build_encoder, descriptors
from reelmill.extractors.text.lda import LDA
from reelmill.extractors.text.sentence import SentenceSettings
from reelmill.extractors.text.sentence_network import Sentence
from reelmill.extractors.text.topics import TopicSettings
from reelmill.extractors.text.words import Document, TooLittleText, read_vectors, tokens, train_vectors, vocabulary
from reelmill.flows.cli import extract as extract_verb
from reelmill.flows.jobs import steps, texts
from reelmill.flows.jobs.check import check_extract
from reelmill.flows.jobs.extract import ExtractResult
from reelmill.flows.settings.load import load
from reelmill.pipeline.extract.texts import TextSummary, extract_texts, post_units
from reelmill.storage import Outcomes, Tables, open_store
from reelmill.storage.blocks import NO_DATA, VALID
from reelmill.storage.errors import InputError
from reelmill.storage.features import verify
from tests.texts import planted

HOUSE = Path(__file__).parents[2]
CPU = Compute(device="cpu")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't STOP: #CatVideos, 2nd take!", ["dont", "stop", "catvideos", "2nd", "take"]),
        ("see https://youtu.be/x?a=1 and www.a.com/b now", ["see", "and", "now"]),
        ("Ünïcode ＷＩＤＥ naïve_underscore", ["ünïcode", "wide", "naïve", "underscore"]),
        ("हिन्दी वीडियो", ["हिन्दी", "वीडियो"]),
        ("猫の動画 cat3", ["猫", "の", "動", "画", "cat3"]),
        ("🙂 ... \u0000", []),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    assert tokens(text) == words


def test_words_that_say_nothing_are_left_out() -> None:
    said = [["the", "cat"], ["the", "cat"], ["the", "dog"], ["the", "dog"], ["the", "once"]]
    assert vocabulary(said) == ["cat", "dog"]
    assert vocabulary(said, share=1.0, size=2) == ["the", "cat"]


def test_word_vectors_do_not_depend_on_the_hash_seed() -> None:
    sentences = [document.words for document in planted(20, 10)[0]]
    here = train_vectors(sentences, 8, seed=1)
    code = (
        "from tests.texts import planted; import hashlib;"
        "from reelmill.extractors.text.words import train_vectors as t;"
        "v = t([d.words for d in planted(20, 10)[0]], 8, seed=1);"
        "print(hashlib.sha256(v.vectors.tobytes() + ' '.join(v.words).encode()).hexdigest())"
    )
    env = {**os.environ, "PYTHONHASHSEED": "77"}
    there = subprocess.run([sys.executable, "-c", code], cwd=HOUSE, env=env, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == hashlib.sha256(here.vectors.tobytes() + " ".join(here.words).encode()).hexdigest()
    assert train_vectors(sentences, 8, seed=2).vectors.tobytes() != here.vectors.tobytes()
    with pytest.raises(TooLittleText):
        train_vectors([["each"], ["once"]], 8, seed=1)


def vectors_file(path: Path, words: list[str], dim: int = 20) -> Path:
    """Random vectors of these words as text."""
    rows = np.random.default_rng(0).normal(size=(len(words), dim))
    lines = (f"{word} {' '.join(f'{x:.4f}' for x in row)}\n" for word, row in zip(words, rows, strict=True))
    path.write_text(f"{len(words)} {dim}\n" + "".join(lines))
    return path


def test_both_formats_of_word2vec_are_read(tmp_path: Path) -> None:
    from gensim.models import KeyedVectors

    plain = vectors_file(tmp_path / "plain.txt", ["cat", "hund", "猫"], 5)
    KeyedVectors.load_word2vec_format(str(plain)).save_word2vec_format(str(tmp_path / "v.bin"), binary=True)
    (tmp_path / "v.txt.gz").write_bytes(gzip.compress(plain.read_bytes()))
    found = [read_vectors(tmp_path / name) for name in ("plain.txt", "v.bin", "v.txt.gz")]
    for one in found:
        assert one.words == ["cat", "hund", "猫"]
        np.testing.assert_array_equal(one.vectors, found[0].vectors)
    assert read_vectors(plain, limit=2).vectors.shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.kv", b"1 2\nx 1 2\n", "a pickle, which could run code.*save_word2vec_format"),
        ("v.bin", pickle.dumps({"a": 1}), "a pickle"),
        ("v.txt", b"cat 0.1 0.2\n", "first line of a word2vec file says"),
        ("v.txt", b"2 2\ncat 0.1 0.2\n", "cannot be read as word2vec's text format"),
        ("v.bin", b"2 300\ncat \x00\x01", "cannot be read as word2vec's binary format"),
        ("v.txt", b"1 2\ncat nan 0.2\n", "NaN or infinite"),
    ],
)
def test_other_files_of_vectors_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_vectors(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        Sentence(SentenceSettings(vectors=tmp_path / "none.bin"))


def nearness(vectors: np.ndarray, themes: np.ndarray) -> float:
    """Area under the curve of "two documents of one theme are nearer (cosine) than two of different ones"."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = np.triu_indices(len(unit), 1)
    return float(roc_auc_score((themes[:, None] == themes)[pairs], (unit @ unit.T)[pairs]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Sentence, list[Document], np.ndarray]]:
    """The network on planted texts (False) and on their noise twin (True). The word vectors are random: whatever it
    knows of themes, it learned by predicting fields from fields."""
    found = {}
    torch.set_num_threads(1)
    for noise in (False, True):
        documents, themes = planted(400, 10, noise=noise)
        words = sorted({word for document in documents for word in document.words})
        path = vectors_file(tmp_path_factory.mktemp("vectors") / "v.txt", words)
        network = Sentence(SentenceSettings(vectors=path, steps=40 if noise else 150), CPU)
        network.fit(documents)
        found[noise] = network, documents, themes
    return found


def test_texts_of_one_theme_lie_together(
    trained: dict[bool, tuple[Sentence, list[Document], np.ndarray]],
) -> None:
    network, documents, themes = trained[False]
    fresh, theirs = planted(200, 10, seed=9)  # texts that it never saw
    first = Sentence(SentenceSettings(vectors=network.settings.vectors, steps=1), CPU)
    first.fit(documents)
    means = np.stack([network.vectors[[network.index.get(w, -1) for w in d.words]].mean(0) for d in fresh])
    learned = nearness(network.transform(fresh), theirs)
    assert learned > nearness(means, theirs) + 0.03
    assert learned > nearness(first.transform(fresh), theirs) + 0.05
    assert np.mean(network.loss[-10:]) < network.loss[0] - 0.5
    control, documents, themes = trained[True]
    assert abs(nearness(control.transform(documents), themes) - 0.5) < 0.02


def test_sentence_vectors_are_repeatable_and_each_stands_alone(
    trained: dict[bool, tuple[Sentence, list[Document], np.ndarray]], tmp_path: Path
) -> None:
    network, documents, _ = trained[False]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, other = (Sentence(SentenceSettings(vectors=network.settings.vectors, steps=3, seed=4), CPU) for _ in range(2))
    for encoder in (one, other):
        encoder.fit(documents)
    assert torch.equal(state, torch.get_rng_state())  # nobody else's random numbers were used
    vectors = one.transform(documents)
    assert vectors.shape == (len(documents), 300)
    assert vectors.tobytes() == other.transform(documents).tobytes()
    assert one.transform(documents[70:73]).tobytes() == vectors[70:73].tobytes()
    long = Document((documents[0].words * 60,))
    assert np.isnan(one.transform([Document.of(), Document.of("unheard"), long])[:, 0]).tolist() == [True, True, False]
    one.save(tmp_path / "kept.npz")
    loaded = Sentence.load(tmp_path / "kept.npz")  # without the file of word vectors
    assert (loaded.sha256, loaded.label, loaded.specs()) == (one.sha256, one.label, one.specs())
    assert loaded.transform(documents).tobytes() == vectors.tobytes()
    with pytest.raises(TooLittleText):
        one.fit([Document.of("one"), Document.of()])


def test_the_network_predicts_where_there_is_one_field_only() -> None:
    documents = [Document((tuple(d.words),)) for d in planted(80, 8)[0]]
    network = Sentence(SentenceSettings(steps=4), CPU)
    network.fit(documents)
    assert np.isfinite(network.transform(documents)).all()
    assert len(network.loss) == 4


@pytest.fixture
def root(tmp_path: Path) -> str:
    """60 videos and one without text; 60 posts by 20 users, one without a time, one without text."""
    documents, _ = planted(60, 10)
    videos = [
        {"video_id": f"v{i:02}", "title": " ".join(d.fields[0]), "tags": list(d.fields[1]), "claimed_duration_ms": 9000}
        for i, d in enumerate(documents)
    ]
    Tables(tmp_path).write("videos", [*videos, {"video_id": "silent"}])
    began = datetime(2020, 1, 1, tzinfo=UTC)
    posts = [
        {"user_id": d.author, "video_id": "-", "kind": "post", "text": " ".join(d.words), "source": "s",
         "source_row": 60 - i, "time": began + timedelta(hours=i)} for i, d in enumerate(documents)
    ]  # fmt: skip
    posts[0]["time"], posts[21]["text"] = None, None
    Tables(tmp_path).write("events", posts)
    return str(tmp_path)


def test_videos_without_text_are_masked_and_a_new_text_is_encoded_again(root: str) -> None:
    first = extract_texts(root, LDA(TopicSettings(topics=5)))
    assert (first.done, first.rows, first.without_text, first.fitted, first.reason) == (61, 61, 1, True, None)
    store = open_store(root, "topics-lda")
    silent, other = store.read("silent"), store.read("v03")
    assert (silent.mask.tolist(), other.mask.tolist()) == ([NO_DATA], [VALID])
    assert np.isnan(silent.features).all()
    assert (other.segment_index[0], other.start_ms[0], other.stop_ms[0], store.spec.rows) == (0, 0, 9000, "video")
    assert (silent.start_ms[0], silent.stop_ms[0]) == (0, 1)
    assert store.rows([("v03", 0), ("silent", 0)]).shape == (2, 5)
    assert not verify(root, store.spec.name)
    assert len(Outcomes(root).latest("extract", store.spec.name)) == 61

    again = extract_texts(root, LDA(TopicSettings(topics=5)))
    assert (again.done, again.skipped, again.fitted) == (0, 61, False)
    Tables(root).write("videos", [{"video_id": "v03", "title": "t1w1 t1w0"}, {"video_id": "new", "title": "t2w0"}])
    grown = extract_texts(root, LDA(TopicSettings(topics=5)))
    assert (grown.done, grown.skipped, grown.fitted, grown.stores) == (2, 60, False, first.stores)
    assert open_store(root, first.stores[0]).read("v03").features.tobytes() != other.features.tobytes()


def test_a_fit_stays_until_it_is_asked_for_again(root: str) -> None:
    first = extract_texts(root, LDA(TopicSettings(topics=5)))
    assert not extract_texts(root, LDA(TopicSettings(topics=5)), refit=True).fitted  # the same texts
    Tables(root).write("videos", [{"video_id": f"w{i}", "title": "t1w1 newer words"} for i in range(9)])
    assert extract_texts(root, LDA(TopicSettings(topics=5))).stores == first.stores
    refit = extract_texts(root, LDA(TopicSettings(topics=5)), refit=True)
    assert refit.fitted
    assert refit.stores != first.stores
    assert extract_texts(root, LDA(TopicSettings(topics=5))).stores == refit.stores  # the newest counts
    assert extract_texts(root, LDA(TopicSettings(topics=5, seed=1))).fitted
    folders = sorted((Path(root) / "encoders").iterdir())
    assert sorted(len(list(folder.glob("part-*.npz"))) for folder in folders) == [1, 2]


def test_posts_stand_in_order_of_time_under_their_user(root: str) -> None:
    encoder = build_encoder("post_topics", topics=5, sweeps=2, layers=("delta", "probability"))
    summary = extract_texts(root, encoder, format="parquet")
    assert (summary.done, summary.rows, summary.undated, summary.without_text) == (20, 59, 1, 1)
    store = open_store(root, "post_topics-delta")
    block = store.read("u1")
    assert (store.spec.rows, block.segment_index.tolist()) == ("post", [0, 1, 2])
    began = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000)
    assert block.start_ms.tolist() == [began + hours * 3_600_000 for hours in (1, 21, 41)]
    assert (block.stop_ms == block.start_ms + 1).all()
    assert block.mask.tolist() == [VALID, NO_DATA, VALID]
    assert block.features[0].sum() == block.features[0].max() == 1
    chances = open_store(root, "post_topics-probability").rows([("u1", 0), ("u2", 2)])
    np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-5)
    users, undated = post_units(root)
    assert (len(users), undated) == (20, 1)


def test_too_little_text_is_told_and_writes_nothing(tmp_path: Path) -> None:
    Tables(tmp_path).write("videos", [{"video_id": "a"}, {"video_id": "b", "title": "alone"}])
    for name in (about.name for about in descriptors() if about.input == "text"):
        summary = extract_texts(str(tmp_path), build_encoder(name))
        assert summary.reason
        assert not summary.stores
    assert not (tmp_path / "features").exists()
    assert not (tmp_path / "encoders").exists()


def everything_of(file: Path, override: str) -> None:
    """Make what these settings name."""
    settings = load(file, [override])
    texts.encoders(settings.extract)
    steps.extractors(settings)


def test_settings_reach_the_encoders_and_mistakes_are_named(root: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    vectors_file(tmp_path / "v.txt", ["t1w1", "t1w0", "t2w0"])
    file.write_text(
        "root: .\nextract:\n  device: cpu\n  extractors:\n    text: {vectors: v.txt, steps: 2}\n"
        "    topics: {topics: 4, seed: 3, refit: true}\n    post_topics: {topics: 3, sweeps: 1}\n"
    )
    settings = load(file)
    assert steps.extractors(settings) == []
    assert check_extract(settings.extract) == ["text-sentence", "topics-lda", "post_topics-delta"]
    built = texts.encoders(settings.extract)
    assert [(e.name, e.dim, e.settings.seed, again) for e, again in built] == [
        ("text", 300, 0, False), ("topics", 4, 3, True), ("post_topics", 3, 0, False),
    ]  # fmt: skip
    read = {encoder.name: texts.encode(settings, encoder, again) for encoder, again in built}
    assert {name: (r.done, r.fitted) for name, r in read.items()} == {
        "text": (61, True), "topics": (61, True), "post_topics": (20, True),
    }  # fmt: skip
    out = Console(record=True, width=200, file=io.StringIO())
    result = ExtractResult(0, 0, {}, 0, 0, 0, 0.0, 0.0, [s for r in read.values() for s in r.stores], read)
    extract_verb.render(out, result)
    told = out.export_text()
    assert "1 of 61 without text" in told
    assert "1 posts without a time left out" in told
    for wrong, message in (
        ("extract.extractors={topics: {topic: 3}}", "topics has no setting 'topic': did you mean 'topics'"),
        ("extract.extractors={topics: {windows: 3}}", "topics has no setting 'windows': it is a setting of c3d"),
        (
            "extract.extractors={c3d: {topics: 3}}",
            "c3d has no setting 'topics': it is a setting of topics, ",
        ),
        ("extract.extractors={text: {layers: [sentense]}}", "did you mean 'sentence'"),
        ("extract.extractors={txt: {}}", "extractor 'txt': did you mean 'text'"),
        ("extract.extractors={text: {vectors: /none.bin}}", "no such file"),
    ):
        with pytest.raises(InputError, match=message):
            everything_of(file, wrong)


def test_a_summary_has_the_figures_of_the_table() -> None:
    assert extract_verb.text_note(TextSummary(reason="no [word]")) == r"no \[word]"


def test_what_reads_no_text_pays_for_none() -> None:
    code = (
        "import reelmill.extractors.registry as r, reelmill.extractors.text.words, reelmill.pipeline.extract.texts;"
        "import reelmill.flows.jobs.texts, sys;"
        "r.descriptors();"
        "assert not {'torch', 'gensim', 'scipy', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=HOUSE, check=True, timeout=60)
