// Everything that can go wrong, in words that a person can act on.

/** The API answered with a problem (RFC 9457). */
export class Problem extends Error {
  constructor(status, body) {
    super([body.title, body.detail].filter(Boolean).join(": ") || `The API answered ${status}`);
    this.status = status;
    this.title = body.title ?? "";
    this.detail = body.detail ?? "";
    /** Whether the page says it in another way: not shown as an error of the action. */
    this.told = false;
    this.type = body.type ?? "about:blank";
    this.fields = Array.isArray(body.errors) ? body.errors : [];
  }

  /** The server's trouble and not the request's: it may work later. */
  get passing() {
    return this.status >= 500 || this.status === 429 || this.status === 408;
  }
}

/** Why there was no answer; `cause.js` finds out which. */
export const CAUSES = {
  offline: "This device is offline",
  cors: "does not let this page in",
  certificate: "has a certificate that this browser does not trust",
  down: "does not answer",
  interrupted: "was reached, but the connection broke",
  slow: "took too long to answer",
};

export const API = "The API";
export const STORAGE = "Storage (R2)";

/** No answer at all. `cause` is a key of `CAUSES`. */
export class Unreachable extends Error {
  constructor(service, url, cause) {
    super(cause === "offline" ? CAUSES.offline : `${service} ${CAUSES[cause]}`);
    this.service = service;
    this.origin = new URL(url).origin;
    this.cause = cause;
  }

  get passing() {
    return true;
  }
}

/** What made a change fail works again; `was` is that error. */
export class Back extends Error {
  cause = "back";

  constructor(was) {
    super(was.status === 401 ? "The server lets you in again." : "The connection is back.");
    this.hint = was.status === 401 ? "Your last change was not made. Try again."
      : was.cause === "slow" ? "Your last change took more than two minutes and may still be carried out. Look before you try again."
      : "Your last change may be missing. Look, and try again if it is.";
  }
}

/** The same attempt would be refused again: the person has to choose or write something else. */
export class Refused extends Error {}

/** The person pressed Cancel, or something newer took the place. */
export class Cancelled extends Error {}
