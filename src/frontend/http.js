// One way to call the API: identity headers, problems as errors, the sync status of every answer.

import { causeOf, heard, wasHeard } from "./cause.js";
import { config } from "./config.js";
import { askForToken } from "./dialogs.js";
import { API, Cancelled, Problem, Unreachable } from "./errors.js";
import { accessToken, profileId, userId } from "./identity.js";
import { recallJson, remember } from "./memory.js";
import { fetchWithin } from "./signals.js";
import { waits } from "./waiting.js";

const RETRIES = 2;
const NETWORK_DELAY_MS = 600;
const LONGEST_MS = 120_000;

const listeners = [];
/** `listener(sync, status)` hears each answer of the API: its `X-Sync-Status` (null: it has none) and its HTTP status. */
export const onAnswer = (listener) => listeners.push(listener);

let profileGone = () => {};
/** `listener()` hears that the profile of this tab no longer exists. */
export const onProfileGone = (listener) => (profileGone = listener);
const GONE = ["/problems/unknown-profile", "/problems/gone"];

/** By profile: the newest `X-Sync-Position` of an answer. Sent back, it makes a Machine that is behind catch up first. */
const POSITIONS = "reel-ballers.positions";
const positions = () => recallJson("session", POSITIONS) ?? {};
function notePosition(profile, answer) {
  const told = Number(answer.headers.get("X-Sync-Position") ?? 0);
  if (!profile || told <= (positions()[profile] ?? 0)) return;
  remember("session", POSITIONS, JSON.stringify({ ...positions(), [profile]: told }));
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * The JSON answer, `null` for an empty one. A 503 that names a `Retry-After` was not carried out and is tried again.
 *
 * `profile` is the tab's one at the time of the call; work that goes on for longer says its own. `signal` ends it with
 * `Cancelled`. Throws `Problem` or `Unreachable`.
 */
export async function call(method, path, body, { profile = profileId(), signal } = {}) {
  let answered = waits();
  try {
    for (let attempt = 0; ; attempt += 1) {
      const token = accessToken();
      let answer;
      try {
        answer = await send(method, path, body, { profile, signal, token });
      } catch (error) {
        if (signal?.aborted) throw new Cancelled("Something newer was asked for");
        // A read may be repeated: a changed network or a Machine that was just replaced costs one attempt.
        if (method === "GET" && attempt < RETRIES && error.name !== "TimeoutError") {
          await wait(NETWORK_DELAY_MS);
          continue;
        }
        throw await unreachable(error, path);
      }
      listeners.forEach((listener) => listener(answer.headers.get("X-Sync-Status"), answer.status));
      if (answer.ok) return answer.status === 204 ? null : await answer.json();
      const after = Number(answer.headers.get("Retry-After"));
      if (answer.status === 503 && after > 0 && attempt < RETRIES) {
        await wait(Math.min(after, 5) * 1000);
        continue;
      }
      if (answer.status === 401) {
        answered(); // the wait for a person is no slow server
        const another = await askForToken(token);
        if (another) {
          answered = waits();
          continue;
        }
      }
      const problem = new Problem(answer.status, await problemBody(answer));
      if (GONE.includes(problem.type) && profile && profile === profileId()) {
        problem.told = true;
        profileGone();
      }
      throw problem;
    }
  } finally {
    answered();
  }
}

async function unreachable(error, path) {
  const url = config().api + path;
  if (error.name === "TimeoutError") return new Unreachable(API, url, "slow");
  const cause = await causeOf(`${config().api}/api/profiles`, { headers: { "X-User-ID": userId() } });
  // The API let this page in before: Fly's proxy answers without headers of CORS while no Machine runs.
  return new Unreachable(API, url, cause === "cors" && wasHeard(url) ? "down" : cause);
}

async function send(method, path, body, { profile, signal, token }) {
  const headers = { "X-User-ID": userId() };
  if (profile) headers["X-Profile-ID"] = profile;
  if (profile && positions()[profile]) headers["X-Sync-Position"] = String(positions()[profile]);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetchWithin(LONGEST_MS, config().api + path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
    // A browser may keep a 404 or 410, and would give it to the next profile, whose address is the same.
    cache: "no-store",
  });
  heard(config().api);
  notePosition(profile, answer);
  return answer;
}

async function problemBody(answer) {
  try {
    const body = await answer.json();
    return body && typeof body === "object" ? body : {};
  } catch {
    return { title: `The API answered ${answer.status} ${answer.statusText}`.trim() };
  }
}

const base64url = (text) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(text))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/**
 * A WebSocket of the API. A browser cannot set headers on one, and a URL would put ids into access logs, so that the
 * sub-protocols say who asks.
 */
export function openSocket(path, profile = profileId()) {
  const url = new URL(config().api + path);
  url.protocol = url.protocol === "http:" ? "ws:" : "wss:";
  const protocols = ["reel-ballers", `user.${userId()}`];
  if (profile) protocols.push(`profile.${profile}`);
  if (positions()[profile]) protocols.push(`position.${positions()[profile]}`);
  if (accessToken()) protocols.push(`token.${base64url(accessToken())}`);
  return new WebSocket(url.href, protocols);
}
