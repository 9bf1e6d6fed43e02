// A file straight to R2 by presigned URLs: whole or in parts, each part tried again by itself.

import { Cancelled, Unreachable } from "./errors.js";

const TRIES = 4;
const PARALLEL = 3;
const FIRST_DELAY_MS = 800;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Sends `file` to `parts` (`[{number, url, begin, end, headers}]`); `progress(bytes)` hears what has arrived in all.
 *
 * Resolves with `[{number, etag}]`. A part that fails is sent again up to four times with a growing delay; 4xx answers
 * other than 408 and 429 are final. Throws `Cancelled` after `signal`, `Unreachable` when R2 never answers.
 */
export async function sendParts(file, parts, { progress, signal }) {
  const arrived = new Map();
  const report = (number, bytes) => {
    arrived.set(number, bytes);
    progress([...arrived.values()].reduce((sum, value) => sum + value, 0));
  };
  const failed = new AbortController();
  const stop = AbortSignal.any([signal, failed.signal]);
  const queue = [...parts];
  const etags = [];
  const worker = async () => {
    for (let part = queue.shift(); part; part = queue.shift()) {
      etags.push({ number: part.number, etag: await sendPart(file, part, stop, report) });
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(PARALLEL, parts.length) }, worker));
  } catch (error) {
    failed.abort(); // the other workers' requests
    throw error;
  }
  return etags.sort((a, b) => a.number - b.number);
}

async function sendPart(file, part, signal, report) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await put(file.slice(part.begin, part.end), part, signal, (bytes) => report(part.number, bytes));
    } catch (error) {
      report(part.number, 0);
      if (error instanceof Cancelled || error.final || attempt === TRIES) throw error;
      await wait(FIRST_DELAY_MS * 2 ** (attempt - 1));
    }
  }
}

// XMLHttpRequest, because fetch does not tell how much of a body has been sent.
function put(blob, part, signal, sent) {
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
    request.open("PUT", part.url);
    for (const [name, value] of Object.entries(part.headers ?? {})) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => sent(event.loaded));
    request.addEventListener("load", () => {
      const etag = request.getResponseHeader("ETag");
      // The URL of a whole file creates it and never replaces it: an earlier try, whose answer was lost, has arrived.
      if (request.status === 412 && part.headers?.["If-None-Match"]) settle(resolve, "");
      else if (request.status < 200 || request.status > 299) settle(reject, refusal(request));
      else if (!etag) settle(reject, Object.assign(new Error("R2 hides the ETag: its CORS rule must expose it"), { final: true }));
      else {
        sent(blob.size);
        settle(resolve, etag);
      }
    });
    request.addEventListener("error", () => settle(reject, new Unreachable("Storage (R2)", part.url)));
    request.addEventListener("abort", () => settle(reject, new Cancelled("The upload was cancelled")));
    request.send(blob);
  });
}

function refusal(request) {
  const code = /<Code>([^<]*)<\/Code>/.exec(request.responseText)?.[1] ?? "";
  const message = /<Message>([^<]*)<\/Message>/.exec(request.responseText)?.[1] ?? "";
  const error = new Error(`Storage refused the upload: ${request.status} ${code} ${message}`.trim());
  error.final = request.status < 500 && request.status !== 408 && request.status !== 429;
  return error;
}
