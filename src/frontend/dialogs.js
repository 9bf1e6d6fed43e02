// Questions: delete or not, another name, the access token. Native dialogs, so that Escape and focus work as expected.

import { byId, isolated, make, stillThere } from "./dom.js";
import { accessToken, useToken } from "./identity.js";

/** Questions about what is on the page are left: the page shows another profile. */
export function closeQuestions() {
  for (const dialog of document.querySelectorAll("dialog[open]:not(#token-dialog)")) dialog.close("");
}

/** Opens a dialog; resolves with its form's data where it was submitted, null where it was left. */
function ask(dialog) {
  return new Promise((resolve) => {
    const form = dialog.querySelector("form");
    const before = document.activeElement ?? document.body;
    dialog.returnValue = "";
    dialog.onclose = () => {
      resolve(dialog.returnValue === "yes" ? new FormData(form) : null);
      stillThere(before)?.focus();
    };
    for (const button of dialog.querySelectorAll("[data-leave]")) button.onclick = () => dialog.close("");
    form.onsubmit = (event) => {
      event.preventDefault();
      dialog.close("yes");
    };
    dialog.showModal();
  });
}

/** A question is open: another one would change its words under the person's finger. */
const questionIsOpen = () => document.querySelector("dialog[open]") !== null;

/**
 * Whether something may be deleted. `changes` are sentences that say what goes with it. `gone` closes the question: what
 * it is about has ended.
 */
export async function confirmDelete(what, changes = [], gone = null) {
  if (questionIsOpen()) return false;
  byId("delete-title").replaceChildren(...isolated(`Delete ${what}?`));
  byId("delete-changes").replaceChildren(...changes.map((line) => make("li", {}, ...isolated(line))));
  byId("delete-changes").hidden = !changes.length;
  const close = () => byId("delete-dialog").close("");
  gone?.addEventListener("abort", close);
  const answer = await ask(byId("delete-dialog"));
  gone?.removeEventListener("abort", close);
  return answer !== null;
}

/** A new name, null where it stays. */
export async function askName(what, name, maxLength = 200) {
  if (questionIsOpen()) return null;
  const field = byId("rename-name");
  byId("rename-title").textContent = `Rename ${what}`;
  field.value = name;
  field.maxLength = maxLength;
  const answer = ask(byId("rename-dialog"));
  field.select();
  const given = (await answer)?.get("name").trim();
  return given && given !== name ? given : null;
}

let asking = null;
let left = false; // the person left the question, and has used no control since

for (const event of ["click", "change"]) addEventListener(event, () => (left = false), true);

/**
 * Asks for the token after `refused` was (null: none was sent); whether there is another one to try now. Requests that
 * are refused at once share the question. A person who left it is not asked again by a request that the page sends by
 * itself.
 */
export async function askForToken(refused) {
  if (accessToken() && accessToken() !== refused) return true; // another request has asked meanwhile
  if (left) return false;
  asking ??= (async () => {
    byId("token-refused").hidden = !refused;
    byId("token-input").value = "";
    const given = (await ask(byId("token-dialog")))?.get("token").trim();
    if (given) useToken(given);
    else left = true;
    asking = null;
    return Boolean(given);
  })();
  return asking;
}
