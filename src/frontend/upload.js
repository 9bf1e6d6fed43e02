// A file straight to R2 by presigned URLs: whole or in parts, each part tried again by itself.

import { causeOf } from "./cause.js";
import { Cancelled, STORAGE, Unreachable } from "./errors.js";
import { anyOf } from "./signals.js";

const TRIES = 6; // of answers that say “later”; a network that is away is waited for
const PARALLEL = 3;
const FIRST_DELAY_MS = 800;
const LONGEST_DELAY_MS = 15_000;

/** Resolves after `ms`, or as soon as the browser is online again; rejects with `Cancelled` at `signal`. */
export function untilOnline(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(settle, ms, resolve);
    const online = () => settle(resolve);
    const aborted = () => settle(() => reject(new Cancelled("The upload was cancelled")));
    function settle(action) {
      clearTimeout(timer);
      removeEventListener("online", online);
      signal.removeEventListener("abort", aborted);
      action();
    }
    addEventListener("online", online);
    signal.addEventListener("abort", aborted);
    if (signal.aborted) aborted();
  });
}

export const delayOf = (attempt) => Math.min(FIRST_DELAY_MS * 2 ** (attempt - 1), LONGEST_DELAY_MS);

/**
 * Sends those of `parts` (`[{number, begin, end}]`) whose number is not in `finished` (a Map number → ETag, which grows
 * with each part that arrived).
 *
 * `target(number, last)` resolves with `{url, headers}`; it is asked again with `last`, the URL that had expired.
 * `progress(bytes)` hears what has arrived in all, `arrived(number)` each part, `waiting(cause)` that the network is
 * away or storage has a problem, and with `null` that it works again. A part is sent again after a growing delay: as often as the network is away, and
 * six times after answers such as 503. Other 4xx answers are final. Throws `Cancelled` after `signal`, `Unreachable`
 * when R2 forbids this page (CORS), an error when the file can no longer be read.
 */
export async function sendParts(file, parts, { finished, target, progress, arrived, waiting, signal }) {
  const bytes = new Map(parts.map(({ number, begin, end }) => [number, finished.has(number) ? end - begin : 0]));
  const report = (number, sent) => {
    bytes.set(number, sent);
    progress([...bytes.values()].reduce((sum, value) => sum + value, 0));
  };
  const failed = new AbortController();
  const stop = anyOf(signal, failed.signal);
  const queue = parts.filter(({ number }) => !finished.has(number));
  const worker = async () => {
    for (let part = queue.shift(); part; part = queue.shift()) {
      const etag = await sendPart(file, part, { target, waiting, signal: stop, report });
      finished.set(part.number, etag);
      arrived(part.number);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(PARALLEL, queue.length) }, worker));
  } catch (error) {
    failed.abort(); // the other workers' requests
    throw error;
  }
}

/** A browser calls a file that was changed or removed meanwhile a network error as well; waiting would never end. */
async function stillReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Error(`“${file.name}” can no longer be read: it was changed, moved or deleted on this device since it was `
      + "chosen. Choose it again.");
  }
}

async function sendPart(file, part, { target, waiting, signal, report }) {
  const blob = file.slice(part.begin, part.end);
  let [refused, away, expired] = [0, 0, null];
  for (;;) {
    const { url, headers } = await target(part.number, expired);
    try {
      const etag = await put(blob, url, headers, signal, (bytes) => report(part.number, bytes));
      waiting(null);
      return etag;
    } catch (error) {
      report(part.number, 0);
      if (error instanceof Cancelled || error.final) throw error;
      if (error.expired) {
        if (expired === url) throw error; // a fresh one is refused as well
        expired = url;
      } else if (error.answered) {
        refused += 1;
        if (refused === TRIES) throw error;
        if (refused > 1) waiting("storage"); // one answer such as 503 is no news
        await untilOnline(delayOf(refused), signal);
      } else {
        await stillReadable(file);
        away += 1;
        const cause = await causeOf(url, { method: "PUT" });
        if (cause === "cors" && away > 1) throw new Unreachable(STORAGE, url, cause);
        waiting(cause);
        await untilOnline(delayOf(away), signal);
      }
    }
  }
}

// XMLHttpRequest, because fetch does not tell how much of a body has been sent.
function put(blob, url, headers, signal, sent) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(new Cancelled("The upload was cancelled"));
      return;
    }
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    signal.addEventListener("abort", abort);
    const settle = (action, value) => {
      signal.removeEventListener("abort", abort);
      action(value);
    };
    request.open("PUT", url);
    for (const [name, value] of Object.entries(headers ?? {})) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => sent(event.loaded));
    request.addEventListener("load", () => {
      const etag = request.getResponseHeader("ETag");
      // The URL of a whole file creates it and never replaces it: an earlier try, whose answer was lost, has arrived.
      if (request.status === 412 && headers?.["If-None-Match"]) settle(resolve, "");
      else if (request.status < 200 || request.status > 299) settle(reject, refusal(request));
      else if (!etag) settle(reject, Object.assign(new Error("R2 hides the ETag: its CORS rule must expose it"), { final: true }));
      else {
        sent(blob.size);
        settle(resolve, etag);
      }
    });
    request.addEventListener("error", () => settle(reject, new Error("no answer")));
    request.addEventListener("abort", () => settle(reject, new Cancelled("The upload was cancelled")));
    request.send(blob);
  });
}

function refusal(request) {
  const code = /<Code>([^<]*)<\/Code>/.exec(request.responseText)?.[1] ?? "";
  const message = /<Message>([^<]*)<\/Message>/.exec(request.responseText)?.[1] ?? "";
  const answer = `${request.status} ${code} ${message}`.trim();
  const error = new Error(request.status < 500 ? `Storage refused the upload: ${answer}`
    : `Storage (R2) has a problem: ${answer}. What has arrived is kept, so try again later.`);
  error.answered = true;
  error.expired = request.status === 403;
  error.final = request.status < 500 && ![403, 408, 429].includes(request.status);
  return error;
}
