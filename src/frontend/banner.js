// The one place where errors are shown.

import { config } from "./config.js";
import { byId, make } from "./dom.js";
import { Cancelled, Problem, Unreachable } from "./errors.js";

export function hideError() {
  byId("error-banner").hidden = true;
}

/** Show an error in words; a cancelled action is none. */
export function showError(error) {
  if (error instanceof Cancelled) return;
  const text = byId("error-text");
  text.replaceChildren(...words(error));
  byId("error-banner").hidden = false;
  byId("error-banner").scrollIntoView({ block: "nearest" });
}

function words(error) {
  if (error instanceof Unreachable) return unreachable(error);
  const lines = [make("strong", {}, error.message)];
  if (error instanceof Problem && error.fields.length) {
    lines.push(make("ul", {}, ...error.fields.map((field) => make("li", {}, `${field.field}: ${field.message}`))));
  }
  return lines;
}

function unreachable(error) {
  const { api, r2, ca } = config();
  const lines = [make("strong", {}, `${error.message}.`)];
  if (!ca) {
    lines.push(make("p", {}, "Check the connection and try again."));
    return lines;
  }
  const open = [["API", `${api}/api/health`], ["R2", r2]].filter(([, url]) => url);
  lines.push(
    make("p", {}, "This stack has its own certificate, which this browser may not trust yet. Open each address once and accept it, then try again:"),
    make("ul", {}, ...open.map(([name, url]) => make("li", {}, `${name}: `, make("a", { href: url, target: "_blank", rel: "noopener" }, url)))),
    make("p", {}, `Or add ${ca} of the checkout to the certificate authorities of the browser. If it is trusted already, \`parity status\` says what is not running.`),
  );
  return lines;
}

/** Run an action for a control: disabled meanwhile, errors shown. Returns undefined after an error. */
export async function guarded(control, action) {
  hideError();
  if (control) control.disabled = true;
  try {
    return await action();
  } catch (error) {
    showError(error);
    return undefined;
  } finally {
    if (control) control.disabled = false;
  }
}
