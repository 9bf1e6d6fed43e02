// Says when an answer takes long, and why it most likely does: a server that sleeps while nobody uses it.

import { byId } from "./dom.js";

const COLD_MS = 1500; // a warm answer takes a tenth of it
const SLOW_MS = 6000;
const ASLEEP_MS = 60_000; // how long after an answer the server may have gone to sleep

let lastAnswer = -Infinity;
const pending = new Set();

/** A request begins; the result is called when it is answered or has failed. */
export function waits() {
  const cold = performance.now() - lastAnswer > ASLEEP_MS;
  const one = {};
  one.timer = setTimeout(() => {
    one.shown = cold ? "cold" : "slow";
    draw();
  }, cold ? COLD_MS : SLOW_MS);
  pending.add(one);
  return () => {
    clearTimeout(one.timer);
    pending.delete(one);
    lastAnswer = performance.now();
    draw();
  };
}

const TEXTS = {
  cold: "The server is waking up. It sleeps while it is not used; this takes a few seconds.",
  slow: "Still waiting for the server …",
};

function draw() {
  const shown = [...pending].map((one) => one.shown).filter(Boolean);
  const state = shown.includes("cold") ? "cold" : (shown[0] ?? "");
  const notice = byId("waiting");
  if (notice.dataset.state === state) return;
  notice.dataset.state = state;
  notice.hidden = !state;
  byId("waiting-text").textContent = TEXTS[state] ?? "";
}
