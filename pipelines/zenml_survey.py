"""The survey of ZenML's dashboard, which each address leads to until the user has answered it."""

from __future__ import annotations

from typing import Any

# The dashboard asks until this is in the user's metadata, and the user has accepted or refused mail.
FINISHED = "finished_onboarding_survey"


def answer_survey(store: Any, name: str) -> None:
    """Answer the survey for a user who has not: no mail, and no further questions.

    Parameters
    ----------
    store: ZenML's store: a database, or the client of a server.
    name: the user; on a server the one who is logged in.
    """
    user = store.get_user(name)
    if user.email_opted_in is not None and user.user_metadata.get(FINISHED):
        return
    from zenml.constants import CURRENT_USER
    from zenml.models import UserUpdate
    from zenml.zen_stores.rest_zen_store import RestZenStore

    update = UserUpdate(email_opted_in=False, user_metadata={**user.user_metadata, FINISHED: True})
    if isinstance(store, RestZenStore):  # the server ignores email_opted_in in update_user
        store.put(CURRENT_USER, body=update)
    else:
        store.update_user(user.id, update)
