// Everything that can go wrong, in words that a person can act on.

/** The API answered with a problem (RFC 9457). */
export class Problem extends Error {
  constructor(status, body) {
    super([body.title, body.detail].filter(Boolean).join(": ") || `The API answered ${status}`);
    this.status = status;
    this.type = body.type ?? "about:blank";
    this.fields = Array.isArray(body.errors) ? body.errors : [];
  }
}

/** No answer at all: the service is down, its certificate is not trusted, or CORS forbids the answer to be read. */
export class Unreachable extends Error {
  constructor(service, url) {
    super(`${service} cannot be reached at ${new URL(url).origin}`);
    this.service = service;
    this.origin = new URL(url).origin;
  }
}

/** The person pressed Cancel. */
export class Cancelled extends Error {}
