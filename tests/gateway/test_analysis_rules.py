"""Analysis without a model: what is found by word lists and patterns alone."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from apps.gateway.choices import EntityKind, SentimentLabel
from apps.gateway.services.analysis.asking import LONGEST_SOURCE, read_source
from apps.gateway.services.analysis.extracting import extract_keywords, extract_summary, extract_title
from apps.gateway.services.analysis.lexicon import score_sentiment
from apps.gateway.services.analysis.patterns import find_patterns
from apps.gateway.services.analysis.tokens import (
    count_words,
    cut_words,
    guess_language,
    shorten,
    split_sentences,
    split_words,
)

COMPLAINT = (
    "Hi there! I bought the new espresso machine from Gaggia last week. The machine heats up quickly. "
    "However, the milk frother broke on Monday, and support never answered my e-mails to help@gaggia.example. "
    "I paid $499.00 on 12 March 2026 and expect a refund of 20 % or a new milk frother. "
    "Dr. Anna Keller of Acme Trading GmbH in Zurich says that the milk frother is a known weak point. "
    "Please call +41 44 123 45 67."
)
LIEFERUNG = (
    "Guten Tag, die Lieferung der Kaffeemaschine kam leider drei Wochen zu spät. Herr Peter Meier von der Muster AG "
    "hat mir am 3. März 2026 eine Gutschrift versprochen. Bisher ist die Gutschrift nicht angekommen."
)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I love it, the screen is wonderful.", SentimentLabel.POSITIVE),
        ("This is not good at all.", SentimentLabel.NEGATIVE),
        ("A terrible, useless product.", SentimentLabel.NEGATIVE),
        ("Great screen, terrible battery.", SentimentLabel.MIXED),
        ("The parcel weighs two kilos.", SentimentLabel.NEUTRAL),
        ("", SentimentLabel.NEUTRAL),
        ("👍👍", SentimentLabel.POSITIVE),
        ("Das ist nicht schlecht.", SentimentLabel.POSITIVE),
        ("Ich bin sehr enttäuscht, das Gerät ist kaputt.", SentimentLabel.NEGATIVE),
        ("C'est vraiment magnifique, merci !", SentimentLabel.POSITIVE),
        ("El servicio fue pésimo y el aparato llegó roto.", SentimentLabel.NEGATIVE),
        ("Un prodotto ottimo, sono molto soddisfatto.", SentimentLabel.POSITIVE),
        ("O produto é péssimo, estou decepcionado.", SentimentLabel.NEGATIVE),
    ],
)
def test_sentiment_in_several_languages(text: str, label: SentimentLabel) -> None:
    assert score_sentiment(text)[0] == label


def test_the_score_follows_the_words() -> None:
    good, better = score_sentiment("It is good.")[1], score_sentiment("It is very good and helpful.")[1]
    assert 0 < good < better < 1
    assert score_sentiment("It is bad.")[1] == -good


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (COMPLAINT, "en"),
        (LIEFERUNG, "de"),
        ("Je ne sais pas pourquoi elle est partie avec vous.", "fr"),
        ("No sé por qué se fue con ustedes ayer.", "es"),
        ("Non so perché questo non funziona con la mia.", "it"),
        ("Não sei por que isso não está com você.", "pt"),
        ("42 1337", "en"),
    ],
)
def test_languages_are_told_by_their_small_words(text: str, language: str) -> None:
    assert guess_language(split_words(text)) == language


def test_a_summary_is_whole_sentences_in_their_order() -> None:
    summary = extract_summary(COMPLAINT, max_words=45)
    sentences = split_sentences(summary)
    assert len(summary.split()) <= 45
    assert [sentence for sentence in split_sentences(COMPLAINT) if sentence in sentences] == sentences
    assert "milk frother" in summary


def test_a_text_of_one_endless_sentence_is_cut() -> None:
    assert extract_summary("word " * 500, max_words=10) == " ".join(["word"] * 10)


def test_an_empty_text_has_an_empty_summary_and_no_keywords() -> None:
    assert extract_summary("", max_words=10) == ""
    assert extract_keywords("", limit=5) == []
    assert extract_title("", length=60) == ""


def test_keywords_are_what_is_said_more_than_once() -> None:
    found = extract_keywords(COMPLAINT, limit=4)
    assert found[0][0] == "milk frother"
    assert sum(weight for _, weight in found) == pytest.approx(1, abs=0.001)
    assert extract_keywords(LIEFERUNG, limit=3)[0][0] == "gutschrift"


def test_a_title_leaves_the_greeting_out() -> None:
    assert extract_title(COMPLAINT, length=60) == "I bought the new espresso machine from Gaggia last week"
    assert extract_title("Hello, hi there, how do I fix a bike?", length=60) == "How do I fix a bike?"
    assert extract_title("## Release notes of the week.", length=60) == "Release notes of the week"


@pytest.mark.parametrize(
    ("text", "length", "short"),
    [
        ("short", 60, "short"),
        ("two\nlines", 60, "two lines"),
        ("one two three four", 12, "one two…"),
        ("unbreakable" * 9, 10, "unbreakab…"),
    ],
)
def test_lines_are_cut_between_words(text: str, length: int, short: str) -> None:
    assert shorten(text, length) == short


def test_entities_by_their_shape() -> None:
    assert find_patterns(COMPLAINT) == [
        (EntityKind.OTHER, "Gaggia"),
        (EntityKind.OTHER, "Monday"),
        (EntityKind.EMAIL, "help@gaggia.example"),
        (EntityKind.MONEY, "$499.00"),
        (EntityKind.DATE, "12 March 2026"),
        (EntityKind.PERCENT, "20 %"),
        (EntityKind.PERSON, "Anna Keller"),
        (EntityKind.ORGANIZATION, "Acme Trading GmbH"),
        (EntityKind.PLACE, "Zurich"),
        (EntityKind.PHONE, "+41 44 123 45 67"),
    ]


def test_german_nouns_are_no_names() -> None:
    assert find_patterns(LIEFERUNG) == [
        (EntityKind.PERSON, "Herr Peter Meier"),
        (EntityKind.ORGANIZATION, "Muster AG"),
        (EntityKind.DATE, "3. März 2026"),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("See https://example.com/a?b=1, please.", [(EntityKind.URL, "https://example.com/a?b=1")]),
        ("See https://example.com/a@b.example now.", [(EntityKind.URL, "https://example.com/a@b.example")]),
        ("We met Prof. Li in New York.", [(EntityKind.OTHER, "Prof"), (EntityKind.PLACE, "New York")]),
        ("We heard the Bank of Ireland today.", [(EntityKind.ORGANIZATION, "Bank of Ireland")]),
        ("They like Mr Smith.", [(EntityKind.PERSON, "Mr Smith")]),
        ("We like The Beatles Of Old.", [(EntityKind.OTHER, "The Beatles Of Old")]),
        ("The Cat sat there.", []),
        ("we saw Ada Lovelace", [(EntityKind.PERSON, "Ada Lovelace")]),
        ("we saw B2 C3 D4 E5", [(EntityKind.OTHER, "B2 C3 D4 E5")]),
        ("plain words only", []),
    ],
)
def test_names_by_their_surroundings(text: str, found: list[tuple[EntityKind, str]]) -> None:
    assert find_patterns(text) == found


def test_sentences_end_at_full_stops_that_mean_it() -> None:
    assert split_sentences("Dr. Who came. He left!\nNobody saw it。好。") == [
        "Dr. Who came.",
        "He left!",
        "Nobody saw it。",
        "好。",
    ]


def test_messages_are_read_with_who_said_them() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url"}]},
        {"role": "assistant", "content": "A cat."},
        {"role": "assistant", "content": None, "tool_calls": []},
    ]
    assert read_source(messages) == "User: What is this?\n\nAssistant: A cat."


def test_a_long_text_is_shortened_in_the_middle() -> None:
    text = read_source("a" * LONGEST_SOURCE + "b" * LONGEST_SOURCE)
    assert text.startswith("aaa")
    assert text.endswith("bbb")
    assert len(text) == LONGEST_SOURCE + len("\n[…]\n")


CHINESE = "天空是蓝色的。太阳光进入大气层以后，蓝色的光被散射。蓝色光的波长很短，所以散射最强。红色的光不会散射。"
JAPANESE = "コーヒーマシンはとても良いです。コーヒーマシンは早く温まります。"


def test_scripts_without_spaces_are_counted_and_cut_by_characters() -> None:
    assert (count_words("two words"), count_words("天空是蓝色的"), count_words("see 天空")) == (2, 3, 2)
    assert cut_words("one two  three", 2) == "one two"
    assert cut_words("天空是蓝色的", 2) == "天空是蓝"
    assert cut_words("see 天空是蓝色的", 2) == "see 天空"
    assert split_words("天空是 ok 天") == ["天空", "空是", "ok", "天"]


def test_a_chinese_text_is_summed_up_not_repeated() -> None:
    summary = extract_summary(CHINESE, max_words=14)
    assert 0 < len(summary) < len(CHINESE) / 2
    assert summary[0] in {sentence[0] for sentence in split_sentences(CHINESE)}


def test_keywords_of_scripts_without_spaces_come_again() -> None:
    assert {"散射", "蓝色"} <= {phrase for phrase, _ in extract_keywords(CHINESE, limit=5)}
    assert "コーヒー" in {phrase for phrase, _ in extract_keywords(JAPANESE, limit=5)}
    assert extract_keywords("天空晴朗", limit=5) == [("天空晴朗", 1.0)]
    assert extract_keywords("天", limit=5) == []


@pytest.mark.parametrize("text", ["42", "is it?", "1, 2, 3."])
def test_a_text_without_words_of_content_is_its_own_summary(text: str) -> None:
    assert extract_summary(text, max_words=10) == text


@pytest.mark.parametrize("piece", ["1,", "1.1 ", "A ", "A of ", " \n", "A" + " " * 500, "a@a.", "$1 ", "(12) ", "天。"])
@pytest.mark.parametrize(
    "look",
    [
        find_patterns,
        score_sentiment,
        lambda text: extract_summary(text, max_words=100),
        lambda text: extract_keywords(text, limit=5),
    ],
    ids=["entities", "sentiment", "summary", "keywords"],
)
def test_no_text_takes_long(look: Callable[[str], object], piece: str) -> None:
    text = (piece * LONGEST_SOURCE)[:LONGEST_SOURCE]
    begun = time.thread_time()
    look(text)
    # A tenth of a second or two on a quick machine; with a pattern that grows by the square it was seventeen seconds.
    assert time.thread_time() - begun < 3
