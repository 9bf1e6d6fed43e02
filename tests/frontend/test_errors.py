"""Errors name their cause, can be tried again, and go away when it works again."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect
from tests.frontend.conftest import open_page, until, wait_for_video
from tests.frontend.site import Api, Site
from tests.ports import free_ports

from parity.certs import ensure_certificates


def banner(tab: Page, cause: str, *said: str) -> None:
    """Wait until the banner names this cause and says this. Both are looked for at once: an answer may change them."""
    shown = tab.locator(f'#error-banner[data-cause="{cause}"]:not([hidden])')
    for words in said or ("",):
        expect(shown).to_contain_text(words)


def configured(context: BrowserContext, **config: str) -> None:
    """`config.json` as another host would have it."""
    context.route("**/config.json", lambda route: route.fulfill(json=config))


def problem(status: int, origin: str) -> Callable[[Route], None]:
    body = {"type": "/problems/x", "title": "Broken", "status": status, "detail": "on purpose"}
    headers = {"Access-Control-Allow-Origin": origin, "Content-Type": "application/problem+json"}
    return lambda route: route.fulfill(status=status, headers=headers, body=json.dumps(body))


def fill_clip(tab: Page) -> None:
    tab.get_by_test_id("clip-start").fill("0.5")
    tab.get_by_test_id("clip-end").fill("1.5")
    tab.get_by_test_id("clip-name").fill("Goal")


@pytest.fixture
def with_game(context: BrowserContext, api: Api, site: Site, video: Path) -> Page:
    api.new_profile()
    api.upload(video)
    tab = open_page(context, site)
    # A request for the video that is still under way could fail as well, and its error would cover the test's.
    wait_for_video(tab)
    return tab


def test_gpu_functions_that_are_too_old_are_told_where_exports_are(
    context: BrowserContext, api: Api, site: Site
) -> None:
    api.new_profile()
    problem = "The deployed GPU functions are older than this release"

    def older(route: Route) -> None:
        told = {**route.fetch().json(), "modal": {"enabled": True, "reachable": True, "detail": problem}}
        route.fulfill(json=told, headers={"Access-Control-Allow-Origin": site.page})

    tab = open_page(context, site)
    expect(tab.get_by_test_id("gpu-note")).to_be_hidden()
    context.route("**/api/status", older)
    tab.reload()
    expect(tab.get_by_test_id("gpu-note")).to_contain_text(problem)


def test_offline_is_named_and_goes_away_by_itself(context: BrowserContext, with_game: Page, api: Api) -> None:
    failed: list[Request] = []
    with_game.on("requestfailed", lambda asked: failed.append(asked) if asked.url.endswith("/exports") else None)
    context.set_offline(True)
    fill_clip(with_game)
    with_game.get_by_test_id("clip-create").click()
    until(with_game, failed, 3)  # the look at everything that follows a change has ended, too
    banner(with_game, "offline", "offline")
    assert api.call("GET", "/api/clips")["clips"] == []
    context.set_offline(False)
    expect(with_game.get_by_test_id("clip-name")).to_have_value("Goal")
    # The page itself finds out that the API can be reached; the change that was not made stays offered.
    banner(with_game, "back", "may be missing")
    with_game.get_by_test_id("error-again").click()
    expect(with_game.get_by_test_id("clip-item")).to_be_visible()
    expect(with_game.get_by_test_id("error-banner")).to_be_hidden()


def test_a_video_whose_url_did_not_arrive_is_played_when_the_network_is_back(
    context: BrowserContext, with_game: Page
) -> None:
    context.route("**/api/storage/url*", lambda route: route.abort())
    with_game.get_by_role("button", name="Watch").click()
    banner(with_game, "interrupted", "Try again")
    expect(with_game.locator("video[src]")).to_have_count(0)
    context.unroute("**/api/storage/url*")
    # Nothing was changed, so nothing may be missing: the page asks again by itself.
    with_game.wait_for_function("document.querySelector('video').readyState >= 2")
    expect(with_game.get_by_test_id("error-banner")).to_be_hidden()


def test_a_video_that_was_chosen_later_is_not_replaced_by_one_that_is_tried_again(
    context: BrowserContext, with_game: Page, api: Api, video: Path
) -> None:
    later = api.upload(video, "Later")
    with_game.reload()
    wait_for_video(with_game)
    held: list[Route] = []

    # Which of the two it is decides, and not when: the page itself asks for the first one again at any time.
    def answer_later(route: Route) -> None:
        if later in route.request.url:
            held.append(route)
        else:
            route.abort()

    context.route("**/api/storage/url*", answer_later)
    with_game.get_by_role("button", name="Watch Match").click()
    banner(with_game, "interrupted")
    with_game.get_by_role("button", name="Watch Later").click()
    until(with_game, held)
    with_game.evaluate("window.dispatchEvent(new Event('online'))")
    expect(with_game.get_by_test_id("error-banner")).to_be_hidden()
    for route in held:
        route.continue_()
    with_game.wait_for_function("document.querySelector('video').readyState >= 2")
    expect(with_game.locator("#player-title")).to_have_text("Later")


def test_a_video_that_fails_after_another_one_was_chosen_is_no_news(
    context: BrowserContext, with_game: Page, api: Api, video: Path
) -> None:
    (first,) = api.call("GET", "/api/games")["games"]
    api.upload(video, "Later")
    with_game.reload()
    wait_for_video(with_game)
    held: list[Route] = []
    lost: list[Route] = []

    def lose_first(route: Route) -> None:
        if first["id"] not in route.request.url:
            route.continue_()
        elif held:
            lost.append(route)
            route.abort()
        else:
            held.append(route)

    context.route("**/api/storage/url*", lose_first)
    start = "id => import('/player.js').then(({ play }) => { window.ended = play({ game: id }); })"
    with_game.evaluate(start, first["id"])
    until(with_game, held)
    with_game.get_by_role("button", name="Watch Later").click()
    wait_for_video(with_game)
    held[0].abort()
    # Asked in one step: an error of the player goes by itself when the page tries again.
    hidden = "async () => { await window.ended; return document.querySelector('#error-banner').hidden; }"
    assert with_game.evaluate(hidden) is True
    assert lost, "the page gave up at once"


def test_a_change_that_took_too_long_may_still_be_carried_out(
    context: BrowserContext, with_game: Page, site: Site
) -> None:
    # Any other answer changes the message, because it shows that the API can be reached: none comes before it was read.
    held: list[Route] = []
    context.route(f"{site.api}/**", lambda route: held.append(route))
    with_game.clock.install()
    fill_clip(with_game)
    with_game.get_by_test_id("clip-create").click()
    until(with_game, held)
    with_game.clock.fast_forward("02:01")
    banner(with_game, "slow", "may still be carried out. Look before you try again.")
    context.unroute(f"{site.api}/**")
    with_game.evaluate("window.dispatchEvent(new Event('online'))")
    banner(with_game, "back", "may still be carried out. Look before you try again.")


def test_a_page_that_is_opened_while_nothing_answers_starts_when_it_does(
    context: BrowserContext, api: Api, site: Site
) -> None:
    api.new_profile()
    context.route(f"{site.api}/**", lambda route: route.abort("connectionrefused"))
    tab = open_page(context, site, ready=False)
    banner(tab, "down", "no usable answer")
    context.unroute(f"{site.api}/**")
    expect(tab.locator("#workspace")).to_be_visible()
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    expect(tab.locator("#environment")).to_be_visible()


def test_an_origin_that_the_api_does_not_know_is_told_apart_from_a_server_that_is_away(
    context: BrowserContext, site: Site
) -> None:
    tab = context.new_page()
    tab.goto(site.strange)
    banner(tab, "cors", site.strange, "CORS_ORIGINS")
    expect(tab.get_by_test_id("error-again")).to_be_visible()


def test_a_proxy_that_answers_for_an_api_that_is_down_is_not_taken_for_cors(tab: Page, site: Site) -> None:
    def without_cors(route: Route) -> None:
        # Playwright adds a header that lets the page read the answer, unless there is one.
        route.fulfill(
            status=503, body="no Machine runs", headers={"Access-Control-Allow-Origin": "https://fly.example"}
        )

    tab.route(f"{site.api}/**", without_cors)
    tab.locator("#profile-rename").click()
    tab.locator("#rename-name").fill("Renamed")
    tab.get_by_test_id("rename-yes").click()
    banner(tab, "down")
    tab.unroute(f"{site.api}/**", without_cors)
    tab.get_by_test_id("error-again").click()
    expect(tab.locator("#profile-select option:checked")).to_have_text("Renamed")
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def own_certificate(tmp_path: Path) -> Iterator[str]:
    """An https address whose certificate no browser trusts."""
    made = ensure_certificates(tmp_path / "ca", tmp_path / "trust", ["localhost"])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Healthy)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made.chain, made.key)
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a handshake that the browser broke off
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_certificate_that_is_not_trusted_is_named_with_the_addresses_to_open(
    context: BrowserContext, site: Site, own_certificate: str
) -> None:
    configured(context, api=own_certificate, r2=f"{own_certificate}/r2", ca=".parity/trust/ca.pem")
    tab = open_page(context, site, ready=False)
    banner(tab, "certificate", ".parity/trust/ca.pem")
    expect(tab.get_by_role("link", name=f"{own_certificate}/api/health")).to_be_visible()
    expect(tab.get_by_role("link", name=f"{own_certificate}/r2")).to_be_visible()


def test_a_local_stack_that_is_not_up_is_no_certificate(
    context: BrowserContext, site: Site, own_certificate: str
) -> None:
    context.route(
        "**/config.json", lambda route: route.fulfill(json={"api": own_certificate, "ca": "trust/ca.pem", "up": False})
    )
    tab = open_page(context, site, ready=False)
    banner(tab, "down", "no usable answer")


def test_a_port_on_which_nothing_listens_is_no_certificate(context: BrowserContext, site: Site) -> None:
    (port,) = free_ports(1)
    configured(context, api=f"http://localhost:{port}")
    tab = open_page(context, site, ready=False)
    banner(tab, "down", f"localhost:{port}")


def test_an_error_of_the_server_is_told_apart_and_read_again_until_it_works(
    context: BrowserContext, api: Api, site: Site
) -> None:
    api.new_profile()
    context.route("**/api/games", problem(500, site.page))
    tab = open_page(context, site)
    banner(tab, "server", "The server had a problem (500).", "on purpose.")
    context.unroute("**/api/games")
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    expect(tab.locator("#game-empty")).to_be_visible()


def test_an_alert_is_not_filled_again_while_a_read_fails_with_the_same_words(
    context: BrowserContext, api: Api, site: Site
) -> None:
    api.new_profile()
    context.route("**/api/games", problem(500, site.page))
    tab = open_page(context, site)
    banner(tab, "server")
    tab.evaluate("""() => {
        window.filled = 0;
        const count = (changes) => (window.filled += changes.length);
        new MutationObserver(count).observe(document.querySelector("#error-text"), { childList: true, subtree: true });
    }""")
    for _ in range(2):
        with tab.expect_response("**/api/games"):
            pass
    context.route("**/api/games", problem(502, site.page))  # before the other one, which stays: no request gets through
    expect(tab.get_by_test_id("error-banner")).to_contain_text("(502)")
    assert tab.evaluate("window.filled") == 1


def test_a_change_that_failed_is_carried_out_once_by_try_again(
    context: BrowserContext, with_game: Page, api: Api, site: Site
) -> None:
    fill_clip(with_game)
    context.route("**/api/clips", problem(500, site.page))
    with_game.get_by_test_id("clip-create").click()
    banner(with_game, "server")
    context.unroute("**/api/clips")
    with_game.get_by_test_id("error-again").click()
    expect(with_game.get_by_test_id("clip-item")).to_have_count(1)
    expect(with_game.get_by_test_id("error-banner")).to_be_hidden()
    assert len(api.call("GET", "/api/clips")["clips"]) == 1


def test_a_refusal_names_the_fields_and_stays_until_it_is_closed(with_game: Page) -> None:
    fill_clip(with_game)
    with_game.get_by_test_id("clip-end").evaluate("field => { field.removeAttribute('max'); field.value = '2.9'; }")
    with_game.get_by_test_id("clip-start").evaluate("field => { field.value = '2.85'; }")
    with_game.get_by_test_id("clip-create").click()
    banner(with_game, "refused", "The request is not valid.", "end: ")
    expect(with_game.get_by_test_id("error-again")).to_be_hidden()
    with_game.get_by_role("button", name="Close").click()
    expect(with_game.get_by_test_id("error-banner")).to_be_hidden()


def test_a_cold_start_is_shown_as_such(context: BrowserContext, api: Api, site: Site) -> None:
    api.new_profile()
    held: list[Route] = []
    context.route("**/api/profiles", lambda route: held.append(route))
    tab = open_page(context, site, ready=False)
    expect(tab.locator('#waiting[data-state="cold"]')).to_contain_text("The server is waking up")
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    held[0].continue_()
    context.unroute("**/api/profiles")
    expect(tab.locator("#workspace")).to_be_visible()
    expect(tab.get_by_test_id("waiting")).to_be_hidden()


def test_a_page_whose_scripts_did_not_arrive_says_so(context: BrowserContext, site: Site) -> None:
    context.route("**/store.js", lambda route: route.abort())
    tab = open_page(context, site, ready=False)
    expect(tab.locator("#starting")).to_contain_text("could not be loaded completely")
    context.unroute("**/store.js")
    tab.get_by_role("button", name="Reload").click()
    expect(tab.locator("#environment")).to_be_visible()


def test_a_script_that_is_lost_once_costs_a_second(context: BrowserContext, site: Site) -> None:
    context.route("**/store.js", lambda route: route.abort(), times=1)
    open_page(context, site)


def test_scripts_of_two_versions_are_told(browser: Browser, site: Site) -> None:
    context = browser.new_context()  # not one in which an uncaught error fails the test

    def older(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("export function turn", "function turn"))

    context.route("**/store.js", older)
    tab = open_page(context, site, ready=False)
    expect(tab.locator("#starting")).to_contain_text("could not be loaded completely")
    context.close()


def test_a_page_whose_host_is_away_for_a_moment_starts_when_it_is_back(context: BrowserContext, site: Site) -> None:
    context.route("**/config.json", lambda route: route.abort("connectionreset"))
    tab = open_page(context, site, ready=False)
    banner(tab, "page", "does not answer")
    context.unroute("**/config.json")
    expect(tab.locator("#environment")).to_be_visible()
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_a_host_without_config_json_is_told(context: BrowserContext, site: Site) -> None:
    context.route("**/config.json", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    tab = open_page(context, site, ready=False)
    banner(tab, "page", "config.json")


def test_a_list_that_loads_does_not_hide_that_another_one_does_not(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    api.clip(api.upload(video), "Goal")
    headers = {"Access-Control-Allow-Origin": site.page}

    def being_cut(route: Route) -> None:
        clips = route.fetch().json()["clips"]
        route.fulfill(json={"clips": [{**clip, "status": "processing"} for clip in clips]}, headers=headers)

    refuse = problem(500, site.page)
    context.route("**/api/clips", being_cut)  # so that the page asks for the clips again and again
    context.route("**/api/games", refuse)
    tab = open_page(context, site)
    banner(tab, "server")
    for _ in range(2):
        with tab.expect_response("**/api/clips"):
            pass
    tab.evaluate("new Promise(requestAnimationFrame)")
    assert tab.get_by_test_id("error-banner").is_visible()
    context.unroute("**/api/games", refuse)
    expect(tab.get_by_test_id("game-item")).to_be_visible()
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_what_the_page_repeats_by_itself_does_not_cover_an_error_of_the_person(tab: Page) -> None:
    show = """([text, key, read]) => import('/banner.js').then(({ showError }) => {
        const error = Object.assign(new Error(text), { passing: read });
        showError(error, { key, read, again: async () => {} });
    })"""
    tab.evaluate(show, ["The list failed", "data", True])
    tab.evaluate(show, ["The clip failed", "clip", False])
    tab.evaluate(show, ["The list failed", "data", True])
    expect(tab.get_by_test_id("error-banner")).to_contain_text("The clip failed")
