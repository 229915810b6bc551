"""The contract of the production pointer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from ratchet.errors import PackageError, RegistryError, StateError
from ratchet.registry import stage_and_alias
from ratchet.registry.doctor import examine, repair
from ratchet.registry.fetch_package import production_pointer, reference_package
from ratchet.registry.model_version import Version
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.tracking import DIGEST_TAG, connect, ensure_experiment
from tests import artifacts
from tests.fitted import Trained


class Display:
    """A mirror that can be broken."""

    name = "display"
    of_one_home = False

    def __init__(self) -> None:
        self.shown: dict[str, str] = {}
        self.broken = self.silent = False

    def read(self, model: str) -> str | None:
        if self.silent:
            raise ConnectionError("no answer")
        return self.shown.get(model)

    def write(self, model: str, version: str) -> None:
        if self.broken:
            raise ConnectionError("no answer")
        self.shown[model] = version


@pytest.fixture
def settings(mlflow_settings: Settings) -> Settings:
    return mlflow_settings


@pytest.fixture
def client(settings: Settings) -> MlflowClient:
    return connect(settings)


@pytest.fixture
def display() -> Display:
    return Display()


@pytest.fixture
def pointer(settings: Settings, client: MlflowClient, model_name: str, display: Display) -> ProductionPointer:
    """A model with four registered versions, none of them promoted."""
    client.create_registered_model(model_name)
    for _ in range(4):
        client.create_model_version(model_name, (settings.home / "nothing").as_uri(), tags={DIGEST_TAG: "d"})
    return ProductionPointer(settings, model_name, mirrors=[display])


def production(pointer: ProductionPointer) -> str | None:
    """Return the version in Production, after checking that every place names the same one."""
    current = pointer.current()
    assert pointer.in_production() == pointer.with_alias()
    if current:
        assert all(mirror.read(pointer.model) == current.version for mirror in pointer.mirrors)
        assert pointer.ledger.promoted_versions()[-1] == current.version
    assert not pointer.ledger.unfinished()
    return current.version if current else None


def test_nothing_is_in_production_before_the_first_promotion(pointer: ProductionPointer, settings: Settings) -> None:
    assert production(pointer) is None
    assert reference_package(settings, pointer.model) == (None, None)


def test_a_promotion_updates_stage_alias_mirrors_and_ledger(pointer: ProductionPointer, client: MlflowClient) -> None:
    pointer.promote("1", "first", "ann", expected=None)
    entry = pointer.promote("2", "better", "bob", expected="1", gate=[{"name": "floor", "passed": True}])
    assert production(pointer) == "2"
    assert pointer.get("1").stage == "Archived"
    assert (entry.kind, entry.state, entry.from_version, entry.to_version) == ("promote", "completed", "1", "2")
    assert (entry.reason, entry.actor, entry.gate) == ("better", "bob", [{"name": "floor", "passed": True}])
    assert entry.ended_at is not None
    assert entry.created_at <= entry.ended_at
    assert [e.id for e in pointer.ledger.history()] == [entry.id, entry.id - 1]
    assert pointer.ledger.history(limit=1) == [entry]


def test_an_old_version_can_be_promoted_again(pointer: ProductionPointer) -> None:
    for version in ("1", "2", "1"):
        pointer.promote(version, "r", "a")
        assert production(pointer) == version


def test_a_rollback_restores_the_version_before_and_not_the_number_before(pointer: ProductionPointer) -> None:
    for version in ("1", "4", "2"):
        pointer.promote(version, "r", "a")
    assert pointer.rollback("worse", "ann").to_version == "4"
    assert production(pointer) == "4"
    assert pointer.rollback("worse still", "ann").to_version == "1"
    assert production(pointer) == "1"


def test_a_version_can_be_promoted_again_after_its_rollback(pointer: ProductionPointer) -> None:
    pointer.promote("1", "r", "a")
    pointer.promote("2", "r", "a")
    pointer.rollback("r", "a")
    pointer.promote("2", "roll forward", "a")
    assert production(pointer) == "2"
    pointer.rollback("r", "a")
    assert production(pointer) == "1"


def test_a_rollback_without_a_previous_version_raises(pointer: ProductionPointer) -> None:
    with pytest.raises(RegistryError, match="nothing is in Production, so there is nothing to roll back"):
        pointer.rollback("r", "a")
    pointer.promote("1", "r", "a")
    pointer.promote("2", "r", "a")
    pointer.rollback("r", "a")
    with pytest.raises(RegistryError, match="version 1 was the first; there is no version to roll back to"):
        pointer.rollback("r", "a")
    assert production(pointer) == "1"


def test_a_rollback_skips_refused_challengers(pointer: ProductionPointer) -> None:
    pointer.promote("1", "r", "a")
    pointer.refuse("3", "too weak", "a", [{"name": "floor", "passed": False}])
    pointer.promote("2", "r", "a")
    assert pointer.rollback("r", "a").to_version == "1"
    assert [(e.state, e.to_version) for e in pointer.ledger.history() if e.to_version == "3"] == [("refused", "3")]


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda p: p.promote("2", "r", "a", expected=None), "expected version none in Production, found 1"),
        (lambda p: p.promote("2", "r", "a", expected="3"), "expected version 3 in Production, found 1"),
        (lambda p: p.promote("1", "r", "a"), "version 1 is in Production already"),
        (lambda p: p.promote("9", "r", "a"), "has no version '9'; the nearest of 4 are '4' and '3'"),
        (lambda p: p.promote("x", "r", "a"), "has no version 'x'"),
        (lambda p: p.promote("2", " ", "a"), "a reason is required"),
        (lambda p: p.rollback("", "a"), "a reason is required"),
    ],
)
def test_an_invalid_change_raises_and_has_no_effect(
    pointer: ProductionPointer, act: Callable[[ProductionPointer], Any], message: str
) -> None:
    pointer.promote("1", "r", "a")
    before = pointer.ledger.history()
    with pytest.raises(RegistryError, match=message):
        act(pointer)
    assert production(pointer) == "1"
    assert pointer.ledger.history() == before


def test_a_version_of_another_model_is_not_found(pointer: ProductionPointer, client: MlflowClient) -> None:
    other = pointer.model + "_other"
    client.create_registered_model(other)
    for _ in range(5):
        client.create_model_version(other, "file:///nothing")
    with pytest.raises(RegistryError, match="has no version '5'"):
        pointer.promote("5", "r", "a")


def test_an_operation_id_identifies_one_operation_of_one_model(
    pointer: ProductionPointer, settings: Settings, client: MlflowClient
) -> None:
    pointer.promote("1", "r", "a", operation_id="deploy")
    with pytest.raises(RegistryError, match="the operation 'deploy' was a promote to version 1; use another id"):
        pointer.promote("2", "r", "a", operation_id="deploy")
    with pytest.raises(RegistryError, match="use another id for another operation"):
        pointer.rollback("r", "a", operation_id="deploy")
    with pytest.raises(RegistryError, match="an operation id has 1 to 64 characters, got 65"):
        pointer.promote("2", "r", "a", operation_id="x" * 65)
    other = ProductionPointer(settings, pointer.model + "_other")
    client.create_registered_model(other.model)
    client.create_model_version(other.model, "file:///nothing")
    assert other.promote("1", "r", "a", operation_id="deploy").state == "completed"
    assert production(pointer) == "1"
    assert production(other) == "1"


def test_an_abandoned_operation_gets_a_new_place_in_the_ledger_when_it_is_retried(
    pointer: ProductionPointer,
) -> None:
    pointer.promote("1", "r", "a")
    version = pointer.get("2")
    pointer.ledger.record(
        "promote", "intended", version, before="1", reason="r", actor="a", operation_id="crashed", token=9
    )
    pointer.promote("3", "r", "a")
    pointer.promote("2", "r", "a", operation_id="crashed")
    assert production(pointer) == "2"
    assert pointer.rollback("r", "a").to_version == "3"


def test_a_paused_holder_does_not_undo_its_own_retry(settings: Settings, pointer: ProductionPointer) -> None:
    pointer.promote("1", "r", "a")

    def retried(version: Version) -> None:
        pointer.promote("2", "r", "a", operation_id="again")

    slow = ProductionPointer(settings, pointer.model, retried, pointer.mirrors, lease_ttl=0.0)
    with pytest.raises(StateError, match="was taken over"):
        slow.promote("2", "r", "a", operation_id="again")
    assert production(pointer) == "2"
    assert [(e.operation_id, e.state) for e in pointer.ledger.history(1)] == [("again", "completed")]


def test_a_version_number_is_normalised(pointer: ProductionPointer) -> None:
    pointer.promote("2", "r", "a")
    with pytest.raises(RegistryError, match="version 2 is in Production already"):
        pointer.promote("02", "r", "a")


def test_a_repeated_operation_takes_effect_once(pointer: ProductionPointer) -> None:
    first = pointer.promote("1", "r", "a", operation_id=pointer.model + "-1")
    again = pointer.promote("1", "r", "a", operation_id=pointer.model + "-1")
    assert again == first
    pointer.promote("2", "r", "a")
    back = pointer.rollback("r", "a", operation_id=pointer.model + "-2")
    assert pointer.rollback("r", "a", operation_id=pointer.model + "-2") == back
    assert production(pointer) == "1"
    assert len(pointer.ledger.history()) == 3


def test_a_version_that_fails_verification_is_not_promoted(settings: Settings, pointer: ProductionPointer) -> None:
    def broken(version: Version) -> None:
        if version.version == "1":
            raise PackageError("golden rows: the model predicts other labels")

    pointer.promote("1", "r", "a")
    pointer.promote("2", "r", "a")
    strict = ProductionPointer(settings, pointer.model, broken, pointer.mirrors)
    with pytest.raises(PackageError):
        strict.rollback("r", "a")
    with pytest.raises(PackageError):
        strict.promote("1", "r", "a")
    assert production(pointer) == "2"
    assert len(pointer.ledger.history()) == 2


def test_a_holder_that_lost_its_lease_writes_nothing(settings: Settings, pointer: ProductionPointer) -> None:
    pointer.promote("1", "r", "a")

    def stopped(version: Version) -> None:
        """Another process promotes while this holder is stopped for longer than its lease."""
        pointer.promote("3", "overtaking", "b")

    slow = ProductionPointer(settings, pointer.model, stopped, pointer.mirrors, lease_ttl=0.0)
    with pytest.raises(StateError, match=r"the lease on production of .* was taken over"):
        slow.promote("2", "r", "a")
    assert production(pointer) == "3"
    assert [(e.to_version, e.state) for e in pointer.ledger.history()] == [
        ("3", "completed"),
        ("1", "completed"),
    ]


def test_an_unreachable_mirror_does_not_stop_a_promotion(
    pointer: ProductionPointer, display: Display, caplog: pytest.LogCaptureFixture
) -> None:
    display.broken = True
    entry = pointer.promote("1", "r", "a")
    assert entry.state == "completed"
    assert entry.warnings == (f"display's stage of {pointer.model} version 1 was not written: no answer",)
    assert entry.warnings[0] in caplog.text
    assert [finding.code for finding in examine(pointer)] == ["mirror_differs"]
    assert [finding.code for finding in repair(pointer, "doc")[1]] == ["mirror_differs"], "it is still broken"
    display.silent = True
    assert [(f.code, f.repair) for f in examine(pointer)] == [("mirror_unreachable", "")]
    display.broken = display.silent = False
    assert repair(pointer, "doc")[1] == []
    assert production(pointer) == "1"


def test_a_sound_pointer_has_no_findings(pointer: ProductionPointer) -> None:
    assert examine(pointer) == []
    assert repair(pointer, "doc") == ([], [])
    pointer.promote("1", "r", "a")
    assert examine(pointer) == []


def test_a_mirror_of_one_home_that_lags_another_machines_promotion_is_a_note(
    pointer: ProductionPointer, display: Display
) -> None:
    pointer.promote("1", "r", "a")
    display.shown[pointer.model] = "2"
    assert [(f.code, f.is_note) for f in examine(pointer)] == [("mirror_differs", False)]
    display.of_one_home = True
    assert [(f.code, f.is_note) for f in examine(pointer)] == [("mirror_differs", True)]
    assert repair(pointer, "doc")[1] == []
    assert display.shown[pointer.model] == "1"


def move(pointer: ProductionPointer, client: MlflowClient, version: str, *, archive: bool = True) -> None:
    """Change the stage as a user does in MLflow's own interface."""
    client.transition_model_version_stage(pointer.model, version, "Production", archive_existing_versions=archive)


deprecated = pytest.mark.filterwarnings("ignore:.*deprecated since 2.9.0:FutureWarning")


@deprecated
def test_a_stage_changed_by_hand_is_found_and_repaired(pointer: ProductionPointer, client: MlflowClient) -> None:
    pointer.promote("1", "r", "a")
    move(pointer, client, "2")
    assert {f.code for f in examine(pointer)} == {"moved_by_hand", "shadow_differs", "mirror_differs"}
    with pytest.raises(RegistryError, match="the stage was changed by hand; run doctor --repair"):
        pointer.rollback("r", "a")
    repair(pointer, "doc")
    assert production(pointer) == "2"
    assert pointer.ledger.history(1)[0].kind == "repair"
    assert pointer.rollback("r", "a").to_version == "1"


def test_an_alias_set_by_hand_before_any_promotion_is_reported_and_left_alone(
    pointer: ProductionPointer, client: MlflowClient
) -> None:
    stage_and_alias.set_alias(client, pointer.model, "2")
    assert [(f.code, f.repair) for f in examine(pointer)] == [("shadow_differs", "")]
    repair(pointer, "doc")
    assert pointer.current() is None
    assert pointer.ledger.history() == []


@deprecated
def test_two_versions_in_production_are_never_resolved_and_can_be_repaired(
    pointer: ProductionPointer, client: MlflowClient
) -> None:
    pointer.promote("1", "r", "a")
    move(pointer, client, "2", archive=False)
    with pytest.raises(RegistryError, match=r"versions 1, 2 are all in Production.*doctor --repair"):
        pointer.current()
    assert [f.code for f in examine(pointer)] == ["many_in_production"]
    repair(pointer, "doc")
    assert production(pointer) == "1"


@deprecated
def test_several_versions_that_neither_ledger_nor_alias_names_are_left_to_a_user(
    pointer: ProductionPointer, client: MlflowClient
) -> None:
    for version in ("1", "2"):
        move(pointer, client, version, archive=False)
    with pytest.raises(RegistryError, match="neither ledger nor alias names one of them"):
        repair(pointer, "doc")


@deprecated
def test_a_version_taken_out_of_production_by_hand_is_put_back(
    pointer: ProductionPointer, client: MlflowClient
) -> None:
    pointer.promote("1", "r", "a")
    client.transition_model_version_stage(pointer.model, "1", "None")
    assert "none_in_production" in {f.code for f in examine(pointer)}
    repair(pointer, "doc")
    assert production(pointer) == "1"


def test_an_unreleased_lease_is_reported(pointer: ProductionPointer) -> None:
    pointer.promote("1", "r", "a")
    leases.acquire(pointer.store, pointer.lease_name, ttl=-1)
    (finding,) = examine(pointer)
    assert finding.code == "lease_left"
    found, left = repair(pointer, "doc")
    assert ([f.code for f in found], left) == (["lease_left"], [])


def test_a_deleted_version_is_not_put_back(pointer: ProductionPointer, client: MlflowClient) -> None:
    pointer.promote("1", "r", "a")
    pointer.promote("2", "r", "a")
    client.delete_model_version(pointer.model, "2")
    assert "put version 1 back" in {f.repair for f in examine(pointer)}
    repair(pointer, "doc")
    assert production(pointer) == "1"


def test_a_damaged_champion_is_reported_and_not_repaired(settings: Settings, pointer: ProductionPointer) -> None:
    pointer.promote("1", "r", "a")

    def broken(version: Version) -> None:
        raise PackageError("model.skops: differs from the manifest")

    strict = ProductionPointer(settings, pointer.model, broken, pointer.mirrors)
    (finding,) = examine(strict)
    assert (finding.code, finding.repair) == ("package_broken", "")
    assert "model.skops: differs from the manifest" in finding.explanation


def test_an_unreachable_registry_raises_and_nothing_changes(
    pointer: ProductionPointer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer.promote("1", "r", "a")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    gone = ProductionPointer(settings.model_copy(update={"mlflow_uri": "http://127.0.0.1:9"}), pointer.model)
    acts = (
        gone.current,
        lambda: gone.promote("2", "r", "a"),
        lambda: gone.rollback("r", "a"),
        lambda: gone.refuse("2", "r", "a", []),
        lambda: examine(gone),
        lambda: repair(gone, "doc"),
    )
    for act in acts:
        with pytest.raises(RegistryError, match=r"MLflow at http://127.0.0.1:9: "):
            act()
    assert production(pointer) == "1"
    assert len(pointer.ledger.history()) == 1


def test_a_package_is_verified_before_its_promotion(
    mlflow_settings: Settings, model_name: str, iris: Trained, tmp_path: Path
) -> None:
    from ratchet.tracking.log_run import log_package

    client = connect(mlflow_settings)
    run = client.create_run(ensure_experiment(mlflow_settings, model_name)).info.run_id
    package = log_package(mlflow_settings, run, model_name, iris.model, iris.train, iris.schema, "x")
    client.create_registered_model(model_name)
    for _ in range(2):
        client.create_model_version(model_name, package.uri, run, tags={DIGEST_TAG: package.digest})
    pointer = production_pointer(mlflow_settings, model_name)
    pointer.promote("1", "r", "a")
    champion, version = reference_package(mlflow_settings, model_name)
    assert champion is not None
    assert (champion.profile.n_rows, version) == (120, "1")
    artifacts.overwrite(artifacts.of_model(mlflow_settings, package.model_id), "golden.json", "{}")
    with pytest.raises(PackageError, match=r"golden.json: differs from the manifest"):
        pointer.promote("2", "r", "a")
    assert production(pointer) == "1"
    assert [f.code for f in examine(pointer)] == ["package_broken"]


def loading_only(settings: Settings, pointer: ProductionPointer, *versions: str) -> ProductionPointer:
    """The same pointer, for which the packages of the other versions are damaged."""

    def verify(version: Version) -> None:
        if version.version not in versions:
            raise PackageError("its model.skops is damaged")

    return ProductionPointer(settings, pointer.model, verify, pointer.mirrors)


def test_the_doctor_names_the_versions_that_can_be_promoted_after_one_was_deleted_in_mlflow(
    pointer: ProductionPointer, client: MlflowClient, settings: Settings
) -> None:
    pointer.promote("4", "r", "a")
    client.delete_model_version(pointer.model, "4")
    some = loading_only(settings, pointer, "1", "2")
    (finding,) = examine(some)
    assert (finding.code, finding.repair) == ("none_in_production", "")
    assert "versions that can be promoted: 2, 1" in finding.explanation
    assert "version 3 cannot: its model.skops is damaged" in finding.explanation
    entry = some.rollback("deleted by mistake", "ann")
    assert (entry.from_version, entry.to_version) == (None, "2")
    assert len(entry.skipped) == 2
    assert "skipped version 3: its model.skops is damaged" in pointer.ledger.history(1)[0].reason
    assert production(pointer) == "2"
    assert examine(pointer) == []


def test_the_doctor_restores_the_newest_version_of_the_ledger_that_loads(
    pointer: ProductionPointer, client: MlflowClient, settings: Settings
) -> None:
    for version in ("1", "3", "2"):
        pointer.promote(version, "r", "a")
    client.delete_model_version(pointer.model, "2")
    some = loading_only(settings, pointer, "1", "4")
    assert [(f.code, f.repair) for f in examine(some)] == [("none_in_production", "put version 1 back")]
    assert repair(some, "doc")[1] == []
    assert production(pointer) == "1"


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize(("loading", "expected"), [("123", "3"), ("12", "2"), ("1", "1"), ("", None)])
def test_a_rollback_goes_to_the_newest_earlier_version_that_loads(
    loading: str,
    expected: str | None,
    deleted: bool,
    pointer: ProductionPointer,
    client: MlflowClient,
    settings: Settings,
) -> None:
    for version in ("1", "2", "3", "4"):
        pointer.promote(version, "r", "a")
    if deleted:
        client.delete_model_version(pointer.model, "4")
    some = loading_only(settings, pointer, *loading)
    if expected is None:
        with pytest.raises(PackageError, match="no version loads; nothing was changed: .*version 3: its model.skops"):
            some.rollback("worse", "ann")
        assert pointer.in_production() == ([] if deleted else ["4"])
        return
    assert some.rollback("worse", "ann").to_version == expected
    assert production(pointer) == expected
    assert pointer.ledger.promoted_versions() == ["1", "2", "3"][: int(expected)]


@deprecated
def test_a_version_moved_in_mlflow_is_recorded_once_and_not_undone(
    pointer: ProductionPointer, client: MlflowClient
) -> None:
    pointer.promote("1", "r", "a")
    assert pointer.note_outside_move() is None
    move(pointer, client, "2")
    entry = pointer.note_outside_move()
    assert entry is not None
    assert (entry.kind, entry.state, entry.from_version, entry.to_version) == ("moved", "completed", "1", "2")
    assert [pointer.note_outside_move() for _ in range(3)] == [None] * 3
    assert production(pointer) == "2"
    assert [(f.code, f.repair[:16]) for f in examine(pointer)] == [("moved_outside", "accept version 2")]
    assert pointer.rollback("moved by hand", "ann").to_version == "1"
    assert examine(pointer) == []


@deprecated
def test_a_move_back_to_the_version_before_counts_as_a_rollback(
    pointer: ProductionPointer, client: MlflowClient
) -> None:
    for version in ("1", "2"):
        pointer.promote(version, "r", "a")
    move(pointer, client, "1")
    pointer.note_outside_move()
    assert pointer.ledger.promoted_versions() == ["1"]
    assert repair(pointer, "doc")[1] == []
    assert (pointer.ledger.history(1)[0].kind, pointer.ledger.promoted_versions()) == ("repair", ["1"])


@deprecated
def test_a_version_without_a_ledger_is_no_move(pointer: ProductionPointer, client: MlflowClient) -> None:
    move(pointer, client, "1")
    assert pointer.note_outside_move() is None


@deprecated
def test_a_change_under_way_is_no_move(pointer: ProductionPointer, client: MlflowClient) -> None:
    pointer.promote("1", "r", "a")
    move(pointer, client, "2")
    with leases.held(pointer.store, pointer.lease_name), pytest.raises(StateError, match="is held by"):
        pointer.note_outside_move()
    assert pointer.ledger.history(1)[0].kind == "promote"


def test_a_lost_race_says_what_to_do_next(pointer: ProductionPointer) -> None:
    pointer.promote("1", "r", "a")
    with pytest.raises(RegistryError, match="history, and repeat the command to compare with version 1"):
        pointer.promote("2", "r", "a", expected="3")


def test_a_name_with_a_quotation_mark_names_one_model(
    settings: Settings, client: MlflowClient, model_name: str
) -> None:
    for name in (f"{model_name}'s", model_name):
        client.create_registered_model(name)
        client.create_model_version(name, (settings.home / "nothing").as_uri(), tags={DIGEST_TAG: "d"})
        pointer = ProductionPointer(settings, name)
        pointer.promote("1", "r", "a")
        assert (pointer.versions(), pointer.in_production()) == (["1"], ["1"])
