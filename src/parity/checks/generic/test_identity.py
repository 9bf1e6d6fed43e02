"""Identity: every Machine knows who sends a request, and no person can read or change another person's data."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import httpx

from parity.checks import Proxy, check, not_judged
from parity.checks.bucket import Bucket
from parity.checks.generic.support import UNKNOWN, changed, empty_machine, not_declared, refusal_of
from parity.checks.generic.test_uploads import like_no_other
from parity.checks.machines import Machines
from parity.checks.person import People, Person
from parity.checks.stack import Stack
from parity.contract import FullContract, InBucket, Refused


@check(
    "D",
    "A person who has signed in is known to a Machine that never served them",
    broken=Proxy("sessions_forgotten"),
    because="does not know who asks",
    rests_on=("test_writes_last",),
    deadline_s=120,
    fast=True,
)
async def test_known_to_every_machine(person: Person, machines: Machines, bucket: Bucket) -> None:
    """Store sessions outside the process, and take the key that signs tokens from a secret."""
    await person.write()
    before = await bucket.objects(person.owns)
    await person.write()
    if isinstance(person.keeps, InBucket) and await changed(bucket, person, before) == before:
        not_judged("writes do not reach the bucket, so the account may be missing there too: see test_durable")
    async with empty_machine(person, machines) as cold:
        refused = await refusal_of(person.on(cold))
    assert refused is None or refused.status not in UNKNOWN, (
        f"a Machine that never served the person does not know who asks: {refused}. After every deploy or stop, and on"
        " a second Machine, all people are signed out. Store sessions and accounts outside the process, and sign tokens"
        " with a key from a secret"
    )


@check(
    "V",
    "No person can read what belongs to another",
    broken=Proxy("first_answer_kept", for_all=True),
    because="what is another person's",
    needs=("ffmpeg",),
    rests_on=("test_people_apart",),
    deadline_s=150,
)
async def test_others_get_nothing(people: People, stack: Stack, video: bytes) -> None:
    """Put the id of the signed-in person into the query that finds the record."""
    one, other = await people(), await people()
    film, began = like_no_other(video), len(stack.said)
    theirs = {(await one.write()).encode(), film[-16:]}
    await one.read()
    if one.can("upload"):
        with contextlib.suppress(Refused):  # test_upload reports this
            theirs.add((await one.app.upload(film)).key.encode())
    asked = dict.fromkeys(path for path in map(path_read(stack), stack.said[began:]) if path)
    public: Collection[str] = getattr(one.app, "public", ())
    for path in (path for path in asked if not any(re.search(pattern, path) for pattern in public)):
        answer = await other.api.ask("GET", path, follow_redirects=True)
        found = answer.is_success and holds(answer, theirs)
        assert not found, (
            f"a signed-in person who asks for {path.partition('?')[0]} gets what is another person's (status"
            f" {answer.status_code}). The app checks that the record exists, not who owns it: put the person's id into"
            " the query"
        )


def path_read(stack: Stack) -> Callable[[dict[str, Any]], str]:
    """A function of an entry of ``stack.said``: path and query where it is a GET of the app answered 2xx, else ""."""
    api = urlsplit(stack.target.api_url).netloc

    def read(entry: dict[str, Any]) -> str:
        method, _, url = entry["asked"].partition(" ")
        parts = urlsplit(url)
        well = method == "GET" and parts.netloc == api and str(entry["answer"]).startswith("2")
        return f"{parts.path}?{parts.query}".removesuffix("?") if well else ""

    return read


def holds(answer: httpx.Response, theirs: Collection[bytes]) -> bool:
    """Whether the answer contains one of ``theirs``, plain or percent-encoded."""
    return any(one in answer.content or one in unquote_to_bytes(answer.content) for one in theirs)


@check(
    "V",
    "No person can change or delete what belongs to another",
    broken=Proxy("changes_by_anyone"),
    because="by another person",
    rests_on=("test_people_apart",),
    deadline_s=90,
)
async def test_others_change_nothing(people: People) -> None:
    """Put the person's id into the condition of every UPDATE and DELETE, and answer 404 where no row matches."""
    one, other = await people(), await people()
    if not (one.can("delete") or one.can("edit")):
        not_declared("the contract has neither delete nor edit, so there is nothing to change")
    hand = Hand(one, other)
    text = await one.write()
    if one.can("delete"):
        await hand.of_the_other(hand.app.delete(text))
        assert text in await one.read(), (
            f"{text} was deleted by another person, who sent the owner's request. Put the person's id into the"
            " condition of every DELETE"
        )
    if one.can("edit"):
        for field in await hand.app.edit():
            await field.do(kept := f"of the owner {text}")
            if await field.shown() != kept:
                not_judged("an edit is not shown even to the person who made it: see test_edits_at_once")
            await hand.of_the_other(field.do(f"of a stranger {text}"))
            shown = await field.shown()
            assert shown == kept, (
                f"a record was changed by another person, who sent the owner's request; it now shows {shown!r}. Put the"
                " person's id into the condition of every UPDATE"
            )


class Hand:
    """Sends the changes of one person as another person.

    ``app`` is the contract of ``one``. During ``of_the_other``, requests other than GET and HEAD carry the credentials
    of ``other``.
    """

    def __init__(self, one: Person, other: Person) -> None:
        self.app: FullContract = copy.copy(one.app)
        self.app.api = replace(one.api)
        self._own, self._other, self._crossed = self.app.api.ask, other.api.ask, False
        self.app.api.ask = self._ask  # type: ignore[method-assign]

    async def of_the_other(self, change: Awaitable[None]) -> None:
        """Do the change with the other person's credentials. A refusal is the right outcome and raises nothing."""
        self._crossed = True
        try:
            await change
        except Refused:
            return
        finally:
            self._crossed = False

    async def _ask(self, method: str, path: str, json: object = None, **more: Any) -> httpx.Response:
        ask = self._other if self._crossed and method not in ("GET", "HEAD") else self._own
        return await ask(method, path, json, **more)
