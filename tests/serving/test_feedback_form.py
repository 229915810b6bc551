"""Signed links and the page behind them: opening it records nothing, sending it does."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from ratchet.feedback.signed_links import Links
from ratchet.feedback.table import feedback_of
from ratchet.settings import Settings
from ratchet.store.database import Store, open_store
from tests.serving.running import Service
from tests.serving.test_feedback import history, inserted, predicted
from tests.serving.test_http import tells_nothing_of_the_inside

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def store(served_settings: Settings) -> Iterator[Store]:
    store = open_store(served_settings)
    yield store
    store.engine.dispose()


def link_to(service: Service, prediction_id: str) -> str:
    status, said = service.post("/feedback/links", {"prediction_id": prediction_id})
    assert (status, set(said)) == (200, {"url", "expires_at"})
    return str(said["url"])


def send(service: Service, link: str, target: str, revision: str = "0") -> tuple[int, dict[str, str], str]:
    token = parse_qs(urlsplit(link).query)["token"][0]
    body = urlencode({"token": token, "target": target, "revision": revision}).encode()
    status, headers, page = service.ask("POST", "/feedback/form", body, content_type=FORM)
    return status, headers, page.decode()


class Page(HTMLParser):
    """The controls of a page, and what is not allowed on it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inputs: list[dict[str, Any]] = []
        self.forms: list[dict[str, Any]] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "input":
            self.inputs.append(dict(attrs))
        if tag == "form":
            self.forms.append(dict(attrs))
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]

    @property
    def choices(self) -> dict[str, bool]:
        """Each choice, and whether it is made."""
        return {one["value"]: "checked" in one for one in self.inputs if one["type"] == "radio"}

    @property
    def revision(self) -> str:
        """The answer that it shows."""
        (found,) = [one["value"] for one in self.inputs if one["name"] == "revision"]
        return str(found)


def shown(service: Service, link: str) -> tuple[str, Page]:
    status, headers, body = service.ask("GET", link)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    return body.decode(), Page(body.decode())


def test_a_link_says_until_when_it_is_good(service: Service) -> None:
    said = service.post("/feedback/links", {"prediction_id": predicted(service)})[1]
    week = time.time() + 7 * 86_400
    assert said["expires_at"].startswith(time.strftime("%Y-%m-%dT", time.gmtime(week)))
    assert said["url"].startswith("/feedback/form?token=")


def test_the_page_shows_what_was_asked_and_predicted_with_the_prediction_chosen(service: Service) -> None:
    text, page = shown(service, link_to(service, predicted(service)))
    assert page.choices == {"setosa": True, "versicolor": False, "virginica": False}
    for words in ("sepal_length", "5.1", "petal_width", "0.2", "predicted the species <strong>setosa</strong>"):
        assert words in text
    assert page.forms == [{"method": "post", "action": "form"}]
    assert page.tags.count("label") == 3
    assert {"h1", "fieldset", "legend", "title"} <= set(page.tags)
    assert 'name="viewport"' in text


def test_opening_the_page_records_nothing(service: Service, store: Store) -> None:
    one = predicted(service)
    link = link_to(service, one)
    for method in ("GET", "HEAD", "GET"):
        assert service.ask(method, link)[0] == 200
    assert history(store, one) == []


def test_sending_the_page_records_once_however_often_it_is_sent(service: Service, store: Store) -> None:
    one = predicted(service)
    link = link_to(service, one)
    pages = [send(service, link, "versicolor") for _ in range(3)]
    assert {status for status, _, _ in pages} == {200}
    assert len({text for _, _, text in pages}) == 1
    assert "Recorded: the right species is <strong>versicolor</strong>" in pages[0][2]
    assert history(store, one) == [(1, "versicolor", "link")]


def test_a_changed_mind_takes_the_place_of_what_was_said(service: Service, store: Store) -> None:
    one = predicted(service)
    link = link_to(service, one)
    for target in ("versicolor", "virginica"):
        assert send(service, link, target, shown(service, link)[1].revision)[0] == 200
    assert history(store, one) == [(1, "versicolor", "link"), (2, "virginica", "link")]
    text, page = shown(service, link)
    assert page.choices == {"setosa": False, "versicolor": False, "virginica": True}
    assert "What stands already: virginica." in text


def test_what_a_program_has_said_is_shown_before_it_is_replaced(service: Service, store: Store) -> None:
    one = predicted(service)
    service.post("/feedback", {"prediction_id": one, "correct": False})
    link = link_to(service, one)
    assert "What stands already: the prediction is wrong." in shown(service, link)[0]
    assert send(service, link, "setosa", "1")[0] == 200
    assert history(store, one) == [(1, None, "user"), (2, "setosa", "link")]


def test_what_the_page_has_not_shown_is_shown_before_it_is_replaced(service: Service, store: Store) -> None:
    one = predicted(service)
    link = link_to(service, one)
    opened = shown(service, link)[1].revision
    service.post("/feedback", {"prediction_id": one, "target": "versicolor"})
    service.post("/feedback", {"prediction_id": one, "target": "virginica", "correction": True})
    for stale in (opened, "1", "3"):
        status, headers, text = send(service, link, "setosa", stale)
        assert (status, headers["content-type"]) == (409, "text/html; charset=utf-8")
        assert "another answer has come since this page was opened" in text
        assert "What stands already: virginica." in text
        assert Page(text).choices == {"setosa": False, "versicolor": False, "virginica": True}
    stands = [(1, "versicolor", "user"), (2, "virginica", "user")]
    assert history(store, one) == stands
    assert "another answer" not in shown(service, link)[0]
    assert send(service, link, "setosa", Page(text).revision)[0] == 200
    assert history(store, one) == [*stands, (3, "setosa", "link")]


def test_a_page_without_a_revision_has_shown_nothing(service: Service, store: Store) -> None:
    one = predicted(service)
    token = link_to(service, one).partition("=")[2]
    for target, status in (("versicolor", 200), ("versicolor", 200), ("virginica", 409)):
        body = f"token={token}&target={target}".encode()
        assert service.ask("POST", "/feedback/form", body, content_type=FORM)[0] == status
    assert history(store, one) == [(1, "versicolor", "link")]


def test_an_answer_that_agrees_with_what_came_meanwhile_is_taken(service: Service, store: Store) -> None:
    one = predicted(service)
    service.post("/feedback", {"prediction_id": one, "correct": False})
    assert send(service, link_to(service, one), "versicolor", "0")[0] == 200, "it says what is right, too"
    assert send(service, link_to(service, one), "versicolor", "0")[0] == 200
    assert history(store, one) == [(1, None, "user"), (2, "versicolor", "link")]


def test_what_was_asked_cannot_become_part_of_the_page(service: Service, store: Store) -> None:
    evil = "<script>alert(1)</script>\"'&"
    features = {"sepal_length": 1.0, evil: evil}
    (one,) = inserted(
        store, service.get("/model")["name"], features=features, prediction=evil, probabilities={evil: 0.9, "b": 0.1}
    )
    text, page = shown(service, link_to(service, one))
    assert "script" not in page.tags
    assert "<script" not in text
    assert page.choices == {evil: True, "b": False}
    assert send(service, link_to(service, one), evil)[0] == 200
    assert feedback_of(store, one)[0]["target"] == evil


def test_the_page_lets_in_its_style_and_nothing_else(service: Service) -> None:
    _, headers, body = service.ask("GET", link_to(service, predicted(service)))
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert re.fullmatch(r"'sha256-[\w+/]+='", policy["style-src"])
    assert headers["referrer-policy"] == "no-referrer", "the token is in the address"
    assert headers["cache-control"] == "no-store"
    assert b"http" not in body


@pytest.mark.parametrize("target", ["rose", "", "SETOSA"])
def test_what_is_no_class_is_refused_in_one_line(service: Service, store: Store, target: str) -> None:
    one = predicted(service)
    status, _, page = send(service, link_to(service, one), target)
    assert status == 422
    assert "which is no class of the model" in page
    assert history(store, one) == []


def test_a_form_that_is_not_the_pages_is_refused(service: Service) -> None:
    token = link_to(service, predicted(service)).partition("=")[2]
    for body in (f"token={token}", f"token={token}&target=setosa&target=virginica", "&".join("abcdefghijk")):
        assert service.ask("POST", "/feedback/form", body.encode(), content_type=FORM)[0] == 422
    for revision in ("", "-1", "one", "1.5", "1" * 20):
        assert send(service, f"/feedback/form?token={token}", "setosa", revision)[0] == 422
    assert service.ask("POST", "/feedback/form", b"{}", content_type="application/json")[0] == 415


def test_a_link_that_was_changed_is_refused_in_one_line(service: Service, store: Store) -> None:
    one, other = predicted(service), predicted(service)
    link, foreign = link_to(service, one), link_to(service, other)
    token, another = (url.partition("=")[2] for url in (link, foreign))
    mixed = ".".join([another.split(".")[0], *token.split(".")[1:]])
    for bad in ("", "x", token[:-5], token + "x", mixed, "a.b.c", "\xff"):
        query = urlencode({"token": bad})
        for reply in (
            service.ask("GET", f"/feedback/form?{query}"),
            service.ask("POST", "/feedback/form", f"{query}&target=virginica".encode(), content_type=FORM),
        ):
            status, headers, body = reply
            assert (status, headers["content-type"]) == (403, "text/html; charset=utf-8")
            assert "This link is not valid" in body.decode()
            assert tells_nothing_of_the_inside(body.split(b"</style>")[1])
    assert service.ask("GET", "/feedback/form")[0] == 403
    assert history(store, one) == history(store, other) == []


def test_a_link_that_has_expired_is_gone(
    service: Service, served_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = predicted(service)
    link_to(service, one)  # so that there is a key
    past = time.time() - 8 * 86_400
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: past)
        token, _ = Links(served_settings).token(one)
    link = f"/feedback/form?token={token}"
    status, _, body = service.ask("GET", link)
    assert (status, "This link has expired" in body.decode()) == (410, True)
    assert send(service, link, "virginica")[0] == 410
    assert history(store, one) == []


def test_a_link_to_what_this_model_never_predicted_leads_to_nothing(
    service: Service, served_settings: Settings, store: Store
) -> None:
    link_to(service, predicted(service))
    (foreign,) = inserted(store, "wine")
    for one in (foreign, "nothing"):
        link = f"/feedback/form?token={Links(served_settings).token(one)[0]}"
        assert service.ask("GET", link)[0] == 404
        assert send(service, link, "setosa")[0] == 404
    assert history(store, foreign) == []


def test_many_classes_are_a_list(service: Service, store: Store) -> None:
    labels = [f"class {number}" for number in range(40)]
    (one,) = inserted(
        store,
        service.get("/model")["name"],
        prediction=labels[7],
        probabilities=dict.fromkeys(labels, 0.025),
    )
    text, page = shown(service, link_to(service, one))
    assert (page.tags.count("select"), page.tags.count("option")) == (1, 40)
    assert '<option value="class 7" selected>' in text
    assert send(service, link_to(service, one), labels[39])[0] == 200
    assert history(store, one) == [(1, labels[39], "link")]


def test_a_number_is_asked_for_where_a_number_was_predicted(service: Service, store: Store) -> None:
    (one,) = inserted(store, service.get("/model")["name"], prediction=152.5, probabilities=None, score=None)
    _, page = shown(service, link_to(service, one))
    (field,) = [each for each in page.inputs if each["name"] == "target"]
    assert (field["type"], field["value"]) == ("number", "152.5")
    for bad in ("many", "", "nan", "inf"):
        assert send(service, link_to(service, one), bad)[0] == 422
    assert send(service, link_to(service, one), "140.25")[0] == 200
    assert history(store, one) == [(1, 140.25, "link")]


def test_the_page_is_counted(service: Service) -> None:
    link = link_to(service, predicted(service))
    before = service.metric("ratchet_requests_total", route="/feedback/form", status="200")
    service.ask("GET", link)
    send(service, link, "setosa")
    service.until(lambda: service.metric("ratchet_requests_total", route="/feedback/form", status="200") >= before + 2)
    assert service.metric("ratchet_feedback_total", source="link", status="recorded") >= 1
