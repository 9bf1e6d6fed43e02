// Signals that end a request, in a way that works in every browser that index.html lets in.

/** A signal that aborts as soon as one of these does. AbortSignal.any needs Safari 17.4 (iOS 17) or Firefox 124. */
export function anyOf(...signals) {
  const first = new AbortController();
  for (const signal of signals) {
    const abort = () => first.abort(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { signal: first.signal });
  }
  return first.signal;
}

/**
 * `fetch` that throws a `TimeoutError` when it is not complete after `ms`. AbortSignal.timeout needs Safari 16, which no
 * iPhone 7 has, and makes Chrome before 124 throw an `AbortError` (https://developer.mozilla.org/docs/Web/API/AbortSignal/timeout).
 */
export async function fetchWithin(ms, url, { signal, ...options } = {}) {
  const late = new AbortController();
  setTimeout(() => late.abort(), ms); // the body may be late as well
  try {
    return await fetch(url, { ...options, signal: signal ? anyOf(signal, late.signal) : late.signal });
  } catch (error) {
    throw late.signal.aborted && !signal?.aborted ? new DOMException("There was no answer in time", "TimeoutError") : error;
  }
}
