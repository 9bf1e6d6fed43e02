// Who is here: a user made once for this browser, and the profile of this tab.

const USER = "reel-ballers.user";
const PROFILE = "reel-ballers.profile";
const TOKEN = "reel-ballers.token";

// crypto.randomUUID exists in secure contexts only; a page over plain http on another host has none.
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `u-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export function userId() {
  if (!localStorage.getItem(USER)) localStorage.setItem(USER, randomId());
  return localStorage.getItem(USER);
}

/** The profile of this tab: another tab may have another one, and a reload keeps it. */
export const profileId = () => sessionStorage.getItem(PROFILE);
export function useProfile(id) {
  if (id) sessionStorage.setItem(PROFILE, id);
  else sessionStorage.removeItem(PROFILE);
}

/** What closes the API to strangers, where it is closed; one for all tabs. */
export const accessToken = () => localStorage.getItem(TOKEN);
export function useToken(token) {
  if (token) localStorage.setItem(TOKEN, token);
  else localStorage.removeItem(TOKEN);
}
