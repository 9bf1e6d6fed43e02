// Finds out why there was no answer. A browser says only "failed to fetch", whatever the reason; a few more requests
// tell the reasons apart.

import { config } from "./config.js";
import { fetchWithin } from "./signals.js";

const PROBE_MS = 5000;
const answered = new Set(); // origins that have answered this page

/** Remembers that a service answered: its certificate is trusted. */
export const heard = (url) => answered.add(new URL(url).origin);

export const wasHeard = (url) => answered.has(new URL(url).origin);

/** Whether a request is answered; null where that takes too long. */
const answers = (url, options) =>
  fetchWithin(PROBE_MS, url, { cache: "no-store", credentials: "omit", ...options }).then(
    () => true,
    (error) => (error.name === "TimeoutError" ? null : false),
  );

/** Whether requests whose answer may be read are refused: two at least, because one may fail by the network. */
const refuses = async (url, like) => (await answers(url, like)) === false && (await answers(url, like)) === false;

/** What this page's own host says by now; null where it does not answer. */
const hostSays = () =>
  fetchWithin(PROBE_MS, "/config.json", { cache: "no-store" }).then((answer) => answer.json()).catch(() => null);

/**
 * A key of `CAUSES` for a request to `url` that got no answer. `like` (method, headers) makes a harmless request that
 * meets the same rules of CORS.
 *
 * - offline: the browser says so, or this page's own host does not answer either.
 * - cors: the service answers a request whose answer may not be read, and none whose answer may.
 * - interrupted: it answers both by now.
 * - certificate: it answers neither, never has, and `config.json` says that it is up and has a certificate of its own.
 * - down: anything else.
 */
export async function causeOf(url, like = {}) {
  if (navigator.onLine === false) return "offline";
  const { origin, pathname } = new URL(url);
  const [page, service] = await Promise.all([hostSays(), answers(origin + pathname, { mode: "no-cors" })]);
  if (service) return (await refuses(origin + pathname, like)) ? "cors" : "interrupted";
  if (!page) return "offline";
  return config().ca && page.up !== false && !answered.has(origin) ? "certificate" : "down";
}
