// One way to call the API: identity headers, problems as errors, the sync status of every answer.

import { config } from "./config.js";
import { Problem, Unreachable } from "./errors.js";
import { accessToken, askForToken, profileId, userId } from "./identity.js";

const RETRIES = 2;
const NETWORK_DELAY_MS = 600;

/** Called with each `X-Sync-Status` that an answer carries. */
let syncListener = () => {};
export function onSyncStatus(listener) {
  syncListener = listener;
}

/** By profile: the newest `X-Sync-Position` of an answer. Sent back, it makes a Machine that is behind catch up first. */
const POSITIONS = "reel-ballers.positions";
const positions = () => JSON.parse(sessionStorage.getItem(POSITIONS) ?? "{}");
const position = () => positions()[profileId()] ?? 0;
function notePosition(profile, answer) {
  const told = Number(answer.headers.get("X-Sync-Position") ?? 0);
  if (!profile || told <= (positions()[profile] ?? 0)) return;
  sessionStorage.setItem(POSITIONS, JSON.stringify({ ...positions(), [profile]: told }));
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * The JSON answer, `null` for an empty one. A 503 that names a `Retry-After` was not carried out and is tried again.
 * Throws `Problem` or `Unreachable`.
 */
export async function call(method, path, body) {
  for (let attempt = 0; ; attempt += 1) {
    let answer;
    try {
      answer = await send(method, path, body);
    } catch (error) {
      // A read may be repeated: a changed network or a Machine that was just replaced costs one attempt.
      if (method !== "GET" || attempt === RETRIES) throw error;
      await wait(NETWORK_DELAY_MS);
      continue;
    }
    const status = answer.headers.get("X-Sync-Status");
    if (status) syncListener(status);
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    const after = Number(answer.headers.get("Retry-After"));
    if (answer.status === 503 && after > 0 && attempt < RETRIES) {
      await wait(Math.min(after, 5) * 1000);
      continue;
    }
    // Asked for once; several requests that are refused at once share the question.
    if (answer.status === 401 && attempt === 0 && askForToken()) continue;
    throw new Problem(answer.status, await problemBody(answer));
  }
}

async function send(method, path, body) {
  const headers = { "X-User-ID": userId() };
  const profile = profileId();
  if (profile) headers["X-Profile-ID"] = profile;
  if (profile && position()) headers["X-Sync-Position"] = String(position());
  if (accessToken()) headers.Authorization = `Bearer ${accessToken()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const url = config().api + path;
  try {
    const answer = await fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    notePosition(profile, answer);
    return answer;
  } catch {
    throw new Unreachable("The API", url);
  }
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
export function openSocket(path) {
  const url = new URL(config().api + path);
  url.protocol = url.protocol === "http:" ? "ws:" : "wss:";
  const protocols = ["reel-ballers", `user.${userId()}`];
  if (profileId()) protocols.push(`profile.${profileId()}`);
  if (position()) protocols.push(`position.${position()}`);
  if (accessToken()) protocols.push(`token.${base64url(accessToken())}`);
  return new WebSocket(url.href, protocols);
}
