// The page: loads its configuration, then one part per section.

import { guarded, hideError, showError } from "./banner.js";
import { status } from "./calls.js";
import { refreshClips, startClips } from "./clips.js";
import { loadConfig } from "./config.js";
import { byId } from "./dom.js";
import { refreshExports, startExports, stopFollowing } from "./exports.js";
import { forgetGame, refreshGames, startGames } from "./games.js";
import { onSyncStatus } from "./http.js";
import { profileId, userId } from "./identity.js";
import { startProfiles } from "./profiles.js";
import { refreshReels, startReels } from "./reels.js";

let shown = null; // the profile whose data is on the page

async function refresh() {
  if (profileId() !== shown) {
    shown = profileId();
    forgetGame();
    stopFollowing();
  }
  if (!shown) return;
  await refreshGames();
  await refreshReels(await refreshClips());
  await refreshExports();
}

function showSync(state) {
  const pill = byId("sync-status");
  pill.dataset.state = state;
  pill.textContent = state;
}

async function showEnvironment() {
  const { environment, app_env: prefix } = await status();
  const pill = byId("environment");
  pill.textContent = environment === prefix ? environment : `${environment} · ${prefix}`;
  pill.hidden = false;
}

async function start() {
  byId("error-close").addEventListener("click", hideError);
  try {
    const { api } = await loadConfig();
    byId("api-url").textContent = api;
  } catch (error) {
    showError(error);
    return;
  }
  byId("user-id").textContent = userId();
  onSyncStatus(showSync);
  startGames(refresh);
  startClips(refresh);
  startReels(refresh);
  startExports(refresh);
  await startProfiles(refresh);
  if (byId("error-banner").hidden) await guarded(null, showEnvironment);
}

start();
