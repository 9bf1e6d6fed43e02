// A strip under the player: the whole game, its clips, the part that the form marks, and the shown frame. It is for the
// eye and the pointer; with a keyboard the player's own slider and the fields say and do the same.

import { byId, make } from "./dom.js";

let lasts = 0; // seconds of the game that is drawn

const place = (element, start, end = start) => {
  element.style.left = `${(100 * Math.max(0, start)) / lasts}%`;
  element.style.width = `${(100 * Math.max(0, Math.min(end, lasts) - start)) / lasts}%`;
};

/** Draws a game of `duration` seconds and its `clips`; hides the strip without a duration. */
export function drawTimeline(duration, clips = []) {
  lasts = duration || 0;
  byId("timeline").hidden = !lasts;
  byId("timeline-clips").replaceChildren(...(lasts ? clips : []).map(({ start, end }) => {
    const mark = make("i");
    place(mark, start, end);
    return mark;
  }));
}

/** The part of the game that a new clip would have. */
export function drawMarked(start, end) {
  if (lasts) place(byId("timeline-marked"), start, end);
}

/** The shown frame, in seconds of the game. */
export function drawShown(at) {
  if (lasts) place(byId("timeline-shown"), Math.min(at, lasts));
}

/** `seek(seconds)` is called for each point of the strip that is pressed or dragged over. */
export function startTimeline(seek) {
  const strip = byId("timeline");
  const go = ({ clientX }) => {
    const { left, width } = strip.getBoundingClientRect();
    seek(Math.max(0, Math.min(1, (clientX - left) / width)) * lasts);
  };
  strip.addEventListener("pointerdown", (event) => {
    strip.setPointerCapture(event.pointerId);
    go(event);
  });
  strip.addEventListener("pointermove", (event) => {
    if (strip.hasPointerCapture(event.pointerId)) go(event);
  });
}
