// Every endpoint that the page uses, and nothing else knows their paths or shapes.

import { call } from "./http.js";
import { sendParts } from "./upload.js";

const id = encodeURIComponent;

export const listProfiles = () => call("GET", "/api/profiles");
export const createProfile = (name) => call("POST", "/api/profiles", { name });
export const selectProfile = (profile) => call("POST", `/api/profiles/${id(profile)}/select`);

export const listGames = async () => (await call("GET", "/api/games")).games;
export const deleteGame = (game) => call("DELETE", `/api/games/${id(game)}?cascade=true`);

/** A presigned URL to read a file of the profile, saved under `filename` where one is given. */
export async function mediaUrl(key, filename) {
  const query = new URLSearchParams(filename ? { key, filename } : { key });
  return (await call("GET", `/api/storage/url?${query}`)).url;
}

/** Prepare, send straight to R2, finalize; resolves with the game. */
export async function uploadGame(file, name, { progress, signal }) {
  const prepared = await call("POST", "/api/games/prepare-upload", {
    name,
    filename: file.name,
    content_type: file.type.startsWith("video/") ? file.type : "application/octet-stream",
    size: file.size,
  });
  try {
    const etags = await sendParts(file, pieces(prepared.upload, file.size), { progress, signal });
    const parts = etags.map(({ number, etag }) => ({ part_number: number, etag }));
    const body = { parts: prepared.upload.method === "multipart" ? parts : [] };
    return await call("POST", `/api/games/${id(prepared.game_id)}/finalize-upload`, body);
  } catch (error) {
    // What was begun goes away; that it cannot be removed now says nothing about why the upload failed.
    if (!error.status) await deleteGame(prepared.game_id).catch(() => {});
    throw error;
  }
}

function pieces(upload, size) {
  if (upload.method === "single") {
    return [{ number: 1, url: upload.url, begin: 0, end: size, headers: upload.headers }];
  }
  let begin = 0;
  return upload.parts.map((part) => {
    const piece = { number: part.part_number, url: part.url, begin, end: begin + part.size };
    begin += part.size;
    return piece;
  });
}

export const listClips = async () => (await call("GET", "/api/clips")).clips;
export const getClip = (clip) => call("GET", `/api/clips/${id(clip)}`);
export const createClip = (game, name, start, end) => call("POST", "/api/clips", { game_id: game, name, start, end });
export const extractClip = (clip) => call("POST", `/api/clips/${id(clip)}/extract`);
export const deleteClip = (clip) => call("DELETE", `/api/clips/${id(clip)}`);

export const listProjects = async () => (await call("GET", "/api/projects")).projects;
export const createProject = (name, clips, options) => call("POST", "/api/projects", { name, clip_ids: clips, options });
export const deleteProject = (project) => call("DELETE", `/api/projects/${id(project)}`);

export const listExports = async () => (await call("GET", "/api/exports")).exports;
export const getExport = (job) => call("GET", `/api/exports/${id(job)}`);
export const createExport = (project) => call("POST", "/api/exports", { project_id: project });
export const cancelExport = (job) => call("POST", `/api/exports/${id(job)}/cancel`);
export const retryExport = (job) => call("POST", `/api/exports/${id(job)}/retry`);
export const exportSocket = (job) => `/ws/export/${id(job)}`;
export const status = () => call("GET", "/api/status");
