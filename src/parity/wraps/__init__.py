"""Broken variants of any HTTP application, written as ASGI wraps that know no route.

Each is ``wrap(app, settings) -> app``. The stand-in for Fly puts one between the edge and a Machine (``Proxy``), where
``app`` forwards to the Machine, so that the variant works for any language; a check may also put one inside an ASGI
backend (``Wrap``), whose package this folder is then copied into. So it imports nothing of the harness.

A wrap that must invent an answer repeats an earlier good one to the same method and path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import answers, boot, sockets, writes
from .asgi import DOES, MEMORY, READS, App, Message, Receive, Send, Settings

__all__ = ["DOES", "MEMORY", "PROXIED", "READS", "SOCKETS", "App", "Message", "Receive", "Send", "Settings"]

# What a proxy can do: by the name that ``Proxy`` and PUT /fly/interposer take.
PROXIED: Mapping[str, Callable[[App, Settings], App]] = {
    wrap.__name__: wrap
    for wrap in (
        answers.answers,
        answers.cacheable,
        answers.cookie_for_one_site,
        answers.errors_without_cors,
        answers.every_origin_allowed,
        answers.failed_read_as_another,
        answers.failure_as_empty,
        answers.first_answer_kept,
        answers.no_cors,
        answers.nonsense_breaks,
        answers.preflights_refused,
        answers.refusals_hidden,
        answers.scheme_forgotten,
        answers.sessions_forgotten,
        answers.slash_to_http,
        answers.slow,
        boot.first_read_fails,
        boot.limited,
        sockets.sockets_break_on_nonsense,
        sockets.sockets_closed_at_once,
        sockets.sockets_refused,
        sockets.sockets_silent,
        sockets.sockets_tell_writes,
        sockets.sockets_trust_the_path,
        writes.answered_early,
        writes.changes_by_anyone,
        writes.edits_of_another_machine_dropped,
        writes.failure_acknowledged,
        writes.first_after_idle_fails,
        writes.one_at_a_time,
        writes.only_ascii,
        writes.second_edit_dropped,
        writes.stuck_after_failure,
        writes.writes_dropped,
    )
}
SOCKETS = frozenset(name for name in PROXIED if name.startswith("sockets_"))
