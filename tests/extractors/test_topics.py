"""Topics of texts: planted ones are found, a noise twin stays at chance, the same seed gives the same bits."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.special import digamma
from sklearn.metrics import normalized_mutual_info_score

from reelmill.extractors.registry import build_encoder
from reelmill.extractors.text.fitted import Encoder
from reelmill.extractors.text.lda import LDA
from reelmill.extractors.text.topics import TopicSettings
from reelmill.extractors.text.twitter_lda import PostTopicSettings, TwitterLDA, delta
from reelmill.extractors.text.words import Document, TooLittleText
from reelmill.storage.errors import CorruptPart, InputError
from tests.optional import needs
from tests.texts import THEMES, planted

MOVIES = Path(__file__).parents[3] / "shared" / "data" / "ml-latest-small"
BOTH = pytest.mark.parametrize("kind", [LDA, TwitterLDA])


def make(kind: type[Encoder], topics: int = THEMES) -> Encoder:
    return kind(PostTopicSettings(topics=topics, sweeps=15) if kind is TwitterLDA else TopicSettings(topics=topics))


def share_found(vectors: np.ndarray, themes: np.ndarray) -> float:
    """Share of documents whose strongest topic is the one that stands for their theme, in the best match of the two."""
    table = np.zeros((vectors.shape[1], THEMES))
    np.add.at(table, (vectors.argmax(1), themes), 1)
    return table[linear_sum_assignment(-table)].sum() / len(themes)


@BOTH
def test_planted_topics_are_found_and_those_of_noise_are_not(kind: type[Encoder]) -> None:
    found = {}
    for noise in (False, True):
        documents, themes = planted(400, 12, noise=noise)
        model = make(kind)
        model.fit(documents[:300])
        vectors = model.transform(documents)
        assert vectors.shape == (400, THEMES)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors.sum(1), 1, rtol=1e-5)
        found[noise] = share_found(vectors[300:], themes[300:])  # documents that it never saw
    assert found[False] > 0.7  # gensim's own LdaModel finds 0.75 to 0.83: with as many topics as themes some two merge
    assert found[True] < 0.35  # the best match of 100 documents by chance


@BOTH
def test_same_seed_same_bits_and_each_document_stands_alone(kind: type[Encoder], tmp_path: Path) -> None:
    documents, _ = planted(120, 10)
    one, other = make(kind), make(kind)
    one.fit(documents)
    other.fit(documents[:50])
    other.fit(documents)  # nothing of the first fit is left
    vectors = one.transform(documents)
    assert vectors.tobytes() == other.transform(documents).tobytes()
    chosen = [d for d in documents if d.author == "u3"]
    alone = one.transform(chosen)
    assert alone.tobytes() == vectors[[d.author == "u3" for d in documents]].tobytes()

    one.save(tmp_path / "kept.npz")
    loaded = kind.load(tmp_path / "kept.npz")
    assert (loaded.sha256, loaded.label, loaded.specs()) == (one.sha256, one.label, one.specs())
    assert loaded.transform(documents).tobytes() == vectors.tobytes()
    extra, _ = planted(40, 10, seed=4)
    for model in (one, loaded):
        model.update(extra)  # goes on as if it had never been written
    assert one.transform(extra).tobytes() == loaded.transform(extra).tobytes()


def test_more_texts_make_better_topics() -> None:
    documents, themes = planted(500, 20, seed=4)
    model = make(LDA, topics=3 * THEMES)

    def agreement() -> float:
        return normalized_mutual_info_score(model.transform(documents[400:]).argmax(1), themes[400:])

    model.fit(documents[:60])
    before = agreement()
    for start in range(60, 400, 20):
        model.update(documents[start : start + 20])
    assert agreement() > before + 0.03
    assert agreement() > 0.95


def test_days_that_come_later_bring_new_words() -> None:
    documents, themes = planted(300, 12)
    model = make(TwitterLDA)
    model.fit(documents[:150])
    late = [Document((tuple(f"new{w}" for w in d.words),), d.author, d.time_ms) for d in documents[150:]]
    assert np.isnan(model.transform(late)).all()
    for start in range(0, 150, 50):
        model.update(late[start : start + 50])
    assert share_found(model.transform(late), themes[150:]) > 0.5
    assert share_found(model.transform(documents[:150]), themes[:150]) > 0.8  # what it knew before it knows


@BOTH
def test_texts_without_known_words_have_no_topics(kind: type[Encoder]) -> None:
    documents, _ = planted(60, 10)
    model = make(kind)
    model.fit([*documents, Document(()), Document(((),))])
    rows = model.transform([Document(()), documents[0], Document.of("never seen")])
    assert np.isnan(rows).all(1).tolist() == [True, False, True]
    assert model.transform([]).shape == (0, THEMES)
    with pytest.raises(TooLittleText):
        make(kind).fit([Document.of("each word"), Document.of("once only")])


def test_common_words_go_to_the_background() -> None:
    documents, _ = planted(400, 12)
    model = TwitterLDA(PostTopicSettings(topics=THEMES, sweeps=20))
    model.fit(documents)
    shares = model.background()
    common, of_themes = ([s for w, s in shares.items() if w[0] == kind] for kind in "ct")
    assert np.mean(common) > np.mean(of_themes) + 0.4


def test_a_post_does_not_depend_on_what_its_author_says_later() -> None:
    documents, _ = planted(200, 6)
    model = TwitterLDA(PostTopicSettings(topics=THEMES, sweeps=5))
    model.fit(documents)
    whole, early = model.transform(documents), model.transform(documents[:120])
    assert whole[:120].tobytes() == early.tobytes()
    assert model.transform(documents[::-1])[::-1].tobytes() == whole.tobytes()  # it is time that counts
    chosen = model.encode(documents)["delta"]
    assert (chosen.argmax(1) == whole.argmax(1)).all()
    assert (np.sort(chosen, 1)[:, -2:] == [0, 1]).all()
    assert np.isnan(delta(np.array([[0.2, 0.8], [np.nan, np.nan]]))[1]).all()


def test_the_inference_is_that_of_gensim() -> None:
    """gensim's LdaModel with our λ: the same E step, from another start."""
    from gensim.models import LdaModel

    documents, _ = planted(60, 20)
    model = make(LDA)
    model.fit(documents)
    theirs = LdaModel(id2word=dict(enumerate(model.index)), num_topics=THEMES, iterations=2000, gamma_threshold=1e-9,
                      random_state=0)  # fmt: skip
    theirs.state.sstats = (model.weights - np.asarray(theirs.eta)[:, None]).T.astype(theirs.dtype)
    theirs.sync_state()
    np.testing.assert_allclose(theirs.expElogbeta.T, model._expected(), rtol=1e-3)
    words = [[model.index[w] for w in d.words if w in model.index] for d in documents]
    gamma, _ = theirs.inference([[(n, w.count(n)) for n in sorted(set(w))] for w in words])
    close = np.abs(gamma / gamma.sum(1, keepdims=True) - model.transform(documents)).max(1) < 0.01
    assert close.mean() > 0.9  # a few documents have two optima


def stated_gamma(model: LDA, words: list[str]) -> np.ndarray:
    """γ (K,) of one document: 50 rounds of eq. 5 of Hoffman et al. from γ = 1, word by word."""
    expected = np.exp(digamma(model.weights) - digamma(model.weights.sum(0)))
    gamma = np.ones(model.dim)
    for _ in range(50):
        theta = np.exp(digamma(gamma) - digamma(gamma.sum()))
        gamma = np.full(model.dim, 1 / model.dim)
        for word in words:
            phi = theta * expected[model.index[word]]
            gamma += phi / phi.sum()
    return gamma


def test_topics_of_a_document_are_those_of_the_equation() -> None:
    documents, _ = planted(60, 20)
    model = make(LDA)
    model.fit(documents)
    found = model.transform(documents)
    for document, vector in zip(documents, found, strict=True):
        known = [word for word in document.words if word in model.index]
        gamma = stated_gamma(model, known)
        np.testing.assert_allclose(gamma.sum() - 1, len(known))  # every word is shared out
        assert np.isfinite(digamma(gamma)).all()
        np.testing.assert_allclose(vector, gamma / gamma.sum(), atol=1e-6)


def test_what_an_older_version_learned_is_read_and_keeps_its_name(tmp_path: Path) -> None:
    """The digest and the vectors as the version before scikit-learn gave them."""
    old = LDA(TopicSettings(topics=3))
    old.index, old.weights = {"cat": 0, "dog": 1}, np.array([[1.0, 2.0, 0.5], [0.25, 4.0, 1.5]])
    old.updates, old.seen, old.fitted_on = 8, 4, "texts"
    old.save(tmp_path / "old.npz")
    loaded = LDA.load(tmp_path / "old.npz")
    assert loaded.sha256 == "ed52cb593df5d52e04e6308c8cd8ec5a0c8f38316ccccb3ae3b4eeb886b0c742"
    assert (loaded.label, loaded.specs()["lda"].name) == ("topics-efba38c2", "topics-lda-8b817c08")
    vectors = loaded.transform([Document.of("cat cat dog"), Document.of("dog"), Document.of("bird")])
    before = [[0.441257506608963, 0.4588767886161804, 0.09986570477485657], [0.16735514998435974, 0.22411467134952545,
              0.6085301637649536]]  # fmt: skip
    np.testing.assert_allclose(vectors[:2], before, rtol=1e-6)
    assert np.isnan(vectors[2]).all()


def test_wrong_settings_and_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'topics'"):
        build_encoder("topics", topic=3)
    with pytest.raises(InputError, match="topics 0"):
        LDA(TopicSettings(topics=0))
    with pytest.raises(InputError, match="did you mean 'delta'"):
        TwitterLDA(PostTopicSettings(layers=("delt",)))
    model = make(LDA)
    model.fit(planted(60, 10)[0])
    model.save(tmp_path / "kept.npz")
    with pytest.raises(CorruptPart, match="not a fitted post_topics"):
        TwitterLDA.load(tmp_path / "kept.npz")
    content = (tmp_path / "kept.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    np.savez(tmp_path / "code.npz", facts=np.array([print], object))
    for name in ("cut.npz", "code.npz"):
        with pytest.raises(CorruptPart, match="move it away"):
            LDA.load(tmp_path / name)


@needs("data", (MOVIES / "tags.csv").exists())
def test_topics_of_real_tags_follow_genres() -> None:
    """Films with three tags or more: those that share a topic share more of their genres than any two do."""
    with (MOVIES / "tags.csv").open() as tags, (MOVIES / "movies.csv").open() as movies:
        said: dict[str, list[str]] = {}
        for row in csv.DictReader(tags):
            said.setdefault(row["movieId"], []).append(row["tag"])
        genres = {row["movieId"]: set(row["genres"].split("|")) for row in csv.DictReader(movies)}
    films = sorted(film for film, tags in said.items() if len(tags) > 2)
    documents = [Document.of(" ".join(said[film])) for film in films]
    model = LDA(TopicSettings(topics=20))
    model.fit(documents)
    topic = np.nan_to_num(model.transform(documents)).argmax(1)
    shared = np.array([[len(genres[a] & genres[b]) / len(genres[a] | genres[b]) for a in films] for b in films])
    pairs = np.triu_indices(len(films), 1)
    same = (topic[:, None] == topic)[pairs]
    assert shared[pairs][same].mean() > 1.2 * shared[pairs].mean()
