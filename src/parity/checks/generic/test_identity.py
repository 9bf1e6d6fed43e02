"""Identity: every Machine knows who sends a request, and no person can read or change another person's data."""

from __future__ import annotations

import contextlib
import copy
import re
import sys
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
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

NEVER = sys.maxsize
# Fewest characters of a credential: a text of at least 64 random bits. Ids of records are often shorter.
LONG = 16
# A contract finds in the other person's answers less than it looks for. StopIteration in a coroutine is a RuntimeError.
NOT_AS_THE_OWNER = (Refused, LookupError, TypeError, ValueError, AttributeError, RuntimeError)


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
    text = {await one.write()}
    theirs = {*(one.encode() for one in text), film[-16:]}
    await one.read()
    hand = Hand(one, other)
    public: Collection[str] = getattr(one.app, "public", ())
    if one.can("upload"):
        with contextlib.suppress(Refused):  # test_upload reports this
            theirs.add((key := (await one.app.upload(film)).key).encode())
            if one.can("content") and not public:
                await one.app.content(key)
                shown = await hand.reads_as_the_other(hand.app.content(key))
                assert not isinstance(shown, bytes) or film[-16:] not in shown, (
                    "a person who sends the owner's requests gets what is another person's: the content of an upload."
                    " Put the person's id into the condition of the query that finds it"
                )
    shown = None if public else await hand.reads_as_the_other(hand.app.read())
    assert not isinstance(shown, Collection) or not text & {str(one) for one in shown}, (
        "a person who sends the owner's requests gets what is another person's: the owner's texts. Put the person's id"
        " into the condition of every query"
    )
    asked = dict.fromkeys(path for path in map(path_read(stack), stack.said[began:]) if path)
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
    text, practised = await one.write(), await one.write()
    await other.write()  # so that the other person has what a change may need, such as a CSRF token
    if one.can("delete"):
        last = await hand.counted(hand.app.delete(practised))
        await hand.of_the_other(hand.app.delete(text), last)
        assert text in await one.read(), (
            f"{text} was deleted by another person, who sent the owner's request. Put the person's id into the"
            " condition of every DELETE"
        )
    if one.can("edit"):
        for field in await hand.app.edit():
            last = await hand.counted(field.do(kept := f"of the owner {text}"))
            if await field.shown() != kept:
                not_judged("an edit is not shown even to the person who made it: see test_edits_at_once")
            await hand.of_the_other(field.do(f"of a stranger {text}"), last)
            shown = await field.shown()
            assert shown == kept, (
                f"a record was changed by another person, who sent the owner's request; it now shows {shown!r}. Put the"
                " person's id into the condition of every UPDATE"
            )


class Hand:
    """Sends some requests of one person as another person: with the headers and cookies of ``other``.

    ``app`` is the contract of ``one``. Of a change only the last request that is no GET is sent so: where an app has
    one path for everything (JSON-RPC, GraphQL), the requests before it find what is to be changed, and must show what
    the owner sees. A credential in the request itself is replaced by that of ``other``, see ``credentials``.
    """

    def __init__(self, one: Person, other: Person) -> None:
        self.app: FullContract = copy.copy(one.app)
        self.app.api = replace(one.api)
        self._of_one, self._of_other = one, other.app
        self._own, self._other = self.app.api.ask, other.api.ask
        self._seen, self._from, self._reads = 0, NEVER, False
        self._told_apart = (one.api.headers, dict(one.api.http.cookies)) != (
            other.api.headers,
            dict(other.api.http.cookies),
        )
        self.app.api.ask = self._ask  # type: ignore[method-assign]

    async def counted(self, change: Awaitable[None]) -> int:
        """Do the change as the owner, and return how many of its requests are no GET."""
        self._seen, self._from = 0, NEVER
        await change
        return self._seen

    async def of_the_other(self, change: Awaitable[None], last: int) -> None:
        """Do the change with its request number ``last`` sent as the other person. A refusal is the right outcome."""
        self._seen, self._from = 0, last
        try:
            await change
        except NOT_AS_THE_OWNER:
            return
        finally:
            self._from = NEVER

    async def reads_as_the_other(self, read: Coroutine[Any, Any, object]) -> object:
        """What the other person gets for the same requests; None where that is nothing of use.

        Also None where neither headers and cookies nor credentials tell the two people apart: then nothing in the
        requests says who asks.
        """
        if not (self._told_apart or credentials(self.app, self._of_other, self._of_one.owns)):
            read.close()
            return None
        self._reads = True
        try:
            return await read
        except NOT_AS_THE_OWNER:
            return None
        finally:
            self._reads = False

    async def _ask(self, method: str, path: str, json: object = None, **more: Any) -> httpx.Response:
        self._seen += method not in ("GET", "HEAD")
        if not (self._reads or (method not in ("GET", "HEAD") and self._seen >= self._from)):
            return await self._own(method, path, json, **more)
        swapped = credentials(self.app, self._of_other, self._of_one.owns)
        place, mark, query = path.partition("?")  # the path itself names records, and the ids of their owners
        asked = {name: exchanged(value, swapped) for name, value in {"json": json, **more}.items()}
        return await self._other(method, place + mark + exchanged(query, swapped), **asked)


def credentials(one: FullContract, other: FullContract, owns: str) -> dict[str, str]:
    """What one person's contract remembers as a credential, such as a token in ``self._token``, with the other's.

    Some apps take it in the body of a request or in its query: the token of a JSON-RPC call, or the CSRF token of a
    form. A text is a credential where both people have one, it is too long to guess, and it is no id of the person,
    which is a part of ``owns``.
    """
    pairs = [(value, vars(other).get(name)) for name, value in vars(one).items() if isinstance(value, str)]
    found = {mine: theirs for mine, theirs in pairs if isinstance(theirs, str) and mine != theirs}
    return {mine: theirs for mine, theirs in found.items() if len(mine) >= LONG and theirs and mine not in owns}


def exchanged(value: Any, texts: Mapping[str, str]) -> Any:
    """The value with each of these texts replaced, at any depth; file contents stay as they are."""
    if isinstance(value, str):
        for old in sorted(texts, key=len, reverse=True):
            value = value.replace(old, texts[old])
        return value
    if isinstance(value, Mapping):
        return {exchanged(key, texts): exchanged(one, texts) for key, one in value.items()}
    return [exchanged(one, texts) for one in value] if isinstance(value, list) else value
