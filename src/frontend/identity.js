// Who is here: a user id made once for this browser, and the profile in use.

const USER = "reel-ballers.user";
const PROFILE = "reel-ballers.profile";

function remembered(name, make) {
  let value = localStorage.getItem(name);
  if (!value && make) {
    value = make();
    localStorage.setItem(name, value);
  }
  return value;
}

// crypto.randomUUID exists in secure contexts only; a page over plain http on another host has none.
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `u-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export const userId = () => remembered(USER, randomId);
export const profileId = () => remembered(PROFILE);
export function useProfile(id) {
  if (id) localStorage.setItem(PROFILE, id);
  else localStorage.removeItem(PROFILE);
}

const TOKEN = "reel-ballers.token";

/** What closes the API to strangers, where it is closed. */
export const accessToken = () => remembered(TOKEN);

/** Asks for the token after a refusal; whether there is another one to try now. */
export function askForToken(refused = accessToken()) {
  const given = prompt("This app is private. Access token:", "")?.trim();
  if (given) localStorage.setItem(TOKEN, given);
  else localStorage.removeItem(TOKEN);
  return Boolean(given) && given !== refused;
}
