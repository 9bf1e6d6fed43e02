// AbortSignal.any for browsers without it: Safari before 17.4, so every iPhone that ends at iOS 16, and Firefox before 124.

/** A signal that aborts as soon as one of these does. */
export function anyOf(...signals) {
  if (AbortSignal.any) return AbortSignal.any(signals);
  const first = new AbortController();
  for (const signal of signals) {
    const abort = () => first.abort(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { signal: first.signal });
  }
  return first.signal;
}
