// Every endpoint that the page uses, and nothing else knows their paths or shapes. The last argument is that of `call`.

import { call } from "./http.js";

const id = encodeURIComponent;

/** Deletes; what another tab or an earlier attempt has deleted is gone as well. */
async function remove(path, options) {
  try {
    return await call("DELETE", path, undefined, options);
  } catch (error) {
    if (error.status === 404 && !error.told) return null;
    throw error;
  }
}

export const status = () => call("GET", "/api/status");

export const listProfiles = () => call("GET", "/api/profiles");
export const createProfile = (name) => call("POST", "/api/profiles", { name });
export const renameProfile = (profile, name) => call("PATCH", `/api/profiles/${id(profile)}`, { name });
export const deleteProfile = (profile) => remove(`/api/profiles/${id(profile)}`);
export const selectProfile = (profile) => call("POST", `/api/profiles/${id(profile)}/select`);

export const listGames = async (options) => (await call("GET", "/api/games", undefined, options)).games;
export const renameGame = (game, name) => call("PATCH", `/api/games/${id(game)}`, { name });
export const deleteGame = (game, { cascade = false, ...options } = {}) =>
  remove(`/api/games/${id(game)}?cascade=${cascade}`, options);
export const previewGame = (game) => call("POST", `/api/games/${id(game)}/preview`);

/** `{game_id, upload, expires_in}`: where the file goes. */
export const prepareUpload = (file, name, options) =>
  call("POST", "/api/games/prepare-upload", {
    name,
    filename: file.name,
    content_type: file.type.startsWith("video/") ? file.type : "application/octet-stream",
    size: file.size,
  }, options);
/** The same again, with fresh URLs. */
export const uploadUrls = (game, options) => call("POST", `/api/games/${id(game)}/upload-urls`, undefined, options);
export const finalizeUpload = (game, parts, options) =>
  call("POST", `/api/games/${id(game)}/finalize-upload`, { parts }, options);

/** `{url, expires_in}`: reads a file of the profile, saved under `filename` where one is given. */
export const mediaUrl = (key, filename) =>
  call("GET", `/api/storage/url?${new URLSearchParams(filename ? { key, filename } : { key })}`);

export const listClips = async (options) => (await call("GET", "/api/clips", undefined, options)).clips;
export const createClip = (clip, options) => call("POST", "/api/clips", clip, options);
export const changeClip = (clip, changes, options) => call("PATCH", `/api/clips/${id(clip)}`, changes, options);
export const extractClip = (clip, options) => call("POST", `/api/clips/${id(clip)}/extract`, undefined, options);
export const deleteClip = (clip, { cascade = false } = {}) => remove(`/api/clips/${id(clip)}?cascade=${cascade}`);

export const listProjects = async (options) => (await call("GET", "/api/projects", undefined, options)).projects;
export const createProject = (project) => call("POST", "/api/projects", project);
export const changeProject = (project, changes) => call("PATCH", `/api/projects/${id(project)}`, changes);
export const deleteProject = (project) => remove(`/api/projects/${id(project)}`);

export const listExports = async (options) => (await call("GET", "/api/exports", undefined, options)).exports;
export const getExport = (job) => call("GET", `/api/exports/${id(job)}`);
export const createExport = (project) => call("POST", "/api/exports", { project_id: project });
export const renameExport = (job, name) => call("PATCH", `/api/exports/${id(job)}`, { name });
export const deleteExport = (job) => remove(`/api/exports/${id(job)}`);
export const cancelExport = (job) => call("POST", `/api/exports/${id(job)}/cancel`);
export const retryExport = (job) => call("POST", `/api/exports/${id(job)}/retry`);
export const exportSocket = (job) => `/ws/export/${id(job)}`;
