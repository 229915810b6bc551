"""Signed links and the feedback form, which records an answer only when it is sent."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from ratchet.feedback.signed_links import Links
from ratchet.feedback.table import feedback_of
from ratchet.settings import Settings
from ratchet.store.database import Store
from tests.serving.feedback_rows import history, inserted, predicted
from tests.serving.request_cases import FORM, discloses_internals
from tests.serving.running import Service


def link_to(service: Service, prediction_id: str) -> str:
    status, link = service.post("/feedback/links", {"prediction_id": prediction_id})
    assert (status, set(link)) == (200, {"url", "expires_at"})
    return str(link["url"])


def send(service: Service, link: str, target: str, revision: str = "0") -> tuple[int, dict[str, str], str]:
    token = parse_qs(urlsplit(link).query)["token"][0]
    body = urlencode({"token": token, "target": target, "revision": revision}).encode()
    status, headers, page = service.request("POST", "/feedback/form", body, content_type=FORM)
    return status, headers, page.decode()


class Page(HTMLParser):
    """The controls of a page, which must have no inline scripts and styles."""

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
        """Each choice, and whether it is selected."""
        return {one["value"]: "checked" in one for one in self.inputs if one["type"] == "radio"}

    @property
    def revision(self) -> str:
        """The revision of the answer that the page shows."""
        (found,) = [one["value"] for one in self.inputs if one["name"] == "revision"]
        return str(found)


def shown(service: Service, link: str) -> tuple[str, Page]:
    status, headers, body = service.request("GET", link)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    return body.decode(), Page(body.decode())


def test_a_link_has_an_expiry_date(service: Service) -> None:
    link = service.post("/feedback/links", {"prediction_id": predicted(service)})[1]
    week = time.time() + 7 * 86_400
    assert link["expires_at"].startswith(time.strftime("%Y-%m-%dT", time.gmtime(week)))
    assert link["url"].startswith("/feedback/form?token=")


def test_the_form_shows_features_and_prediction_with_the_prediction_selected(service: Service) -> None:
    text, page = shown(service, link_to(service, predicted(service)))
    assert page.choices == {"setosa": True, "versicolor": False, "virginica": False}
    for words in ("sepal_length", "5.1", "petal_width", "0.2", "predicted the species <strong>setosa</strong>"):
        assert words in text
    assert page.forms == [{"method": "post", "action": "form"}]
    assert page.tags.count("label") == 3
    assert {"h1", "fieldset", "legend", "title"} <= set(page.tags)
    assert 'name="viewport"' in text


def test_opening_the_form_records_nothing(service: Service, store: Store) -> None:
    one = predicted(service)
    link = link_to(service, one)
    for method in ("GET", "HEAD", "GET"):
        assert service.request(method, link)[0] == 200
    assert history(store, one) == []


def test_sending_the_form_again_records_nothing_more(service: Service, store: Store) -> None:
    one = predicted(service)
    link = link_to(service, one)
    pages = [send(service, link, "versicolor") for _ in range(3)]
    assert {status for status, _, _ in pages} == {200}
    assert len({text for _, _, text in pages}) == 1
    assert "Recorded: the correct species is <strong>versicolor</strong>" in pages[0][2]
    assert history(store, one) == [(1, "versicolor", "link")]


def test_a_later_answer_replaces_the_answer_that_the_form_shows(service: Service, store: Store) -> None:
    one = predicted(service)
    link = link_to(service, one)
    for target in ("versicolor", "virginica"):
        assert send(service, link, target, shown(service, link)[1].revision)[0] == 200
    assert history(store, one) == [(1, "versicolor", "link"), (2, "virginica", "link")]
    text, page = shown(service, link)
    assert page.choices == {"setosa": False, "versicolor": False, "virginica": True}
    assert "Recorded answer: virginica." in text


def test_feedback_from_a_program_is_shown_before_it_is_replaced(service: Service, store: Store) -> None:
    one = predicted(service)
    service.post("/feedback", {"prediction_id": one, "correct": False})
    link = link_to(service, one)
    assert "Recorded answer: the prediction is wrong." in shown(service, link)[0]
    assert send(service, link, "setosa", "1")[0] == 200
    assert history(store, one) == [(1, None, "user"), (2, "setosa", "link")]


def test_an_answer_that_the_form_has_not_shown_is_shown_before_it_is_replaced(service: Service, store: Store) -> None:
    one = predicted(service)
    link = link_to(service, one)
    opened = shown(service, link)[1].revision
    service.post("/feedback", {"prediction_id": one, "target": "versicolor"})
    service.post("/feedback", {"prediction_id": one, "target": "virginica", "correction": True})
    for stale in (opened, "1", "3"):
        status, headers, text = send(service, link, "setosa", stale)
        assert (status, headers["content-type"]) == (409, "text/html; charset=utf-8")
        assert "another answer was recorded after this page was opened" in text
        assert "Recorded answer: virginica." in text
        assert Page(text).choices == {"setosa": False, "versicolor": False, "virginica": True}
    stands = [(1, "versicolor", "user"), (2, "virginica", "user")]
    assert history(store, one) == stands
    assert "another answer" not in shown(service, link)[0]
    assert send(service, link, "setosa", Page(text).revision)[0] == 200
    assert history(store, one) == [*stands, (3, "setosa", "link")]


def test_a_form_without_a_revision_replaces_no_answer(service: Service, store: Store) -> None:
    one = predicted(service)
    token = link_to(service, one).partition("=")[2]
    for target, status in (("versicolor", 200), ("versicolor", 200), ("virginica", 409)):
        body = f"token={token}&target={target}".encode()
        assert service.request("POST", "/feedback/form", body, content_type=FORM)[0] == status
    assert history(store, one) == [(1, "versicolor", "link")]


def test_an_answer_that_agrees_with_unseen_feedback_is_accepted(service: Service, store: Store) -> None:
    one = predicted(service)
    service.post("/feedback", {"prediction_id": one, "correct": False})
    assert send(service, link_to(service, one), "versicolor", "0")[0] == 200, "it adds the target"
    assert send(service, link_to(service, one), "versicolor", "0")[0] == 200
    assert history(store, one) == [(1, None, "user"), (2, "versicolor", "link")]


def test_features_and_classes_are_escaped(service: Service, store: Store) -> None:
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
    assert feedback_of(store, one)[0].target == evil


def test_the_policy_of_the_form_allows_its_style_sheet_only(service: Service) -> None:
    _, headers, body = service.request("GET", link_to(service, predicted(service)))
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert re.fullmatch(r"'sha256-[\w+/]+='", policy["style-src"])
    assert headers["referrer-policy"] == "no-referrer", "the address contains the token"
    assert headers["cache-control"] == "no-store"
    assert b"http" not in body


@pytest.mark.parametrize("target", ["rose", "", "SETOSA"])
def test_an_unknown_class_is_refused(service: Service, store: Store, target: str) -> None:
    one = predicted(service)
    status, _, page = send(service, link_to(service, one), target)
    assert status == 422
    (problem,) = re.findall(r'<p class="error" id="problem" role="alert">(.*?)</p>', page)
    assert re.fullmatch(r"Got .*, which is not a class of the model.*[.?] Nothing was recorded\.", problem)
    assert 'aria-describedby="problem"' in page
    assert Page(page).choices == {"setosa": True, "versicolor": False, "virginica": False}, "it can be sent again"
    assert history(store, one) == []


def test_other_fields_than_those_of_the_form_are_refused(service: Service) -> None:
    token = link_to(service, predicted(service)).partition("=")[2]
    for body in (f"token={token}", f"token={token}&target=setosa&target=virginica", "&".join("abcdefghijk")):
        assert service.request("POST", "/feedback/form", body.encode(), content_type=FORM)[0] == 422
    for revision in ("", "-1", "one", "1.5", "1" * 20):
        assert send(service, f"/feedback/form?token={token}", "setosa", revision)[0] == 422
    assert service.request("POST", "/feedback/form", b"{}", content_type="application/json")[0] == 415


def test_a_link_that_was_changed_is_refused(service: Service, store: Store) -> None:
    one, other = predicted(service), predicted(service)
    link, foreign = link_to(service, one), link_to(service, other)
    token, another = (url.partition("=")[2] for url in (link, foreign))
    mixed = ".".join([another.split(".")[0], *token.split(".")[1:]])
    for bad in ("", "x", token[:-5], token + "x", mixed, "a.b.c", "\xff"):
        query = urlencode({"token": bad})
        for reply in (
            service.request("GET", f"/feedback/form?{query}"),
            service.request("POST", "/feedback/form", f"{query}&target=virginica".encode(), content_type=FORM),
        ):
            status, headers, body = reply
            assert (status, headers["content-type"]) == (403, "text/html; charset=utf-8")
            assert "This link is not valid" in body.decode()
            assert not discloses_internals(body.split(b"</style>")[1])
    assert service.request("GET", "/feedback/form")[0] == 403
    assert history(store, one) == history(store, other) == []


def test_an_expired_link_is_refused(
    service: Service, served_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = predicted(service)
    link_to(service, one)  # creates the secret
    past = time.time() - 8 * 86_400
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: past)
        token, _ = Links(served_settings).token(one)
    link = f"/feedback/form?token={token}"
    status, _, body = service.request("GET", link)
    assert (status, "This link has expired" in body.decode()) == (410, True)
    assert send(service, link, "virginica")[0] == 410
    assert history(store, one) == []


def test_a_link_to_a_prediction_of_another_model_is_not_found(
    service: Service, served_settings: Settings, store: Store
) -> None:
    link_to(service, predicted(service))
    (foreign,) = inserted(store, "wine")
    for one in (foreign, "nothing"):
        link = f"/feedback/form?token={Links(served_settings).token(one)[0]}"
        assert service.request("GET", link)[0] == 404
        assert send(service, link, "setosa")[0] == 404
    assert history(store, foreign) == []


def test_many_classes_are_a_drop_down_list(service: Service, store: Store) -> None:
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


def test_the_form_of_a_regression_has_a_number_field(service: Service, store: Store) -> None:
    (one,) = inserted(store, service.get("/model")["name"], prediction=152.5, probabilities=None, score=None)
    _, page = shown(service, link_to(service, one))
    (field,) = [each for each in page.inputs if each["name"] == "target"]
    assert (field["type"], field["value"]) == ("number", "152.5")
    for bad in ("many", "", "nan", "inf"):
        status, _, text = send(service, link_to(service, one), bad)
        assert (status, 'role="alert">Got ' in text, 'aria-invalid="true"' in text) == (422, True, True)
    assert send(service, link_to(service, one), "140.25")[0] == 200
    assert history(store, one) == [(1, 140.25, "link")]


def test_requests_to_the_form_are_counted(service: Service) -> None:
    link = link_to(service, predicted(service))
    before = service.metric("ratchet_requests_total", route="/feedback/form", status="200")
    service.request("GET", link)
    send(service, link, "setosa")
    service.until(lambda: service.metric("ratchet_requests_total", route="/feedback/form", status="200") >= before + 2)
    assert service.metric("ratchet_feedback_total", source="link", status="recorded") >= 1
