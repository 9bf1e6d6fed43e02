// Follows a job: events over a WebSocket, the state by REST whenever the socket is away.

import { openSocket } from "./http.js";
import { profileId } from "./identity.js";

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 8000;
const POLL_MS = 1500;
const PING_MS = 20000;

/**
 * Calls `show(state)` for every state, until `ended(state)`; the promise resolves with the last one.
 *
 * `poll` asks by REST. After a close the state is polled while reconnecting with a growing delay, so that a Machine that
 * stopped, or a socket that an idle timeout closed, costs seconds and not the result. `signal` ends it early with `null`.
 */
export function watch(path, { poll, show, ended, signal }) {
  const profile = profileId();
  return new Promise((resolve, reject) => {
    let socket = null;
    let delay = FIRST_DELAY_MS;
    let done = false;
    let timers = [];

    const finish = (settle, value) => {
      if (done) return;
      done = true;
      timers.forEach(clearInterval);
      socket?.close(1000);
      settle(value);
    };
    const accept = (state) => {
      if (done) return;
      show(state);
      if (ended(state)) finish(resolve, state);
    };
    let asking = false;
    let events = 0; // an answer is late when an event came after its question
    const ask = async () => {
      if (asking) return; // one question at a time: answers arrive in the order of the questions
      asking = true;
      const before = events;
      try {
        const state = await poll();
        if (events === before) accept(state);
      } catch (error) {
        // The next poll may succeed; what the API refuses for good it will refuse again.
        if (error.status && !error.passing) finish(reject, error);
      } finally {
        asking = false;
      }
    };
    const connect = () => {
      if (done) return;
      const opened = openSocket(path, profile);
      socket = opened;
      let ping = null;
      let answered = true; // something came since the last ping
      const lost = () => {
        clearInterval(ping);
        if (done || socket !== opened) return;
        socket = null;
        setTimeout(connect, delay);
        delay = Math.min(delay * 2, LONGEST_DELAY_MS);
      };
      opened.addEventListener("open", () => {
        delay = FIRST_DELAY_MS;
        ping = setInterval(() => {
          // After a sleep, or in another network, a connection is dead and no close arrives for minutes.
          if (!answered) {
            opened.close();
            lost();
            return;
          }
          answered = false;
          opened.send("ping");
        }, PING_MS);
        timers.push(ping);
      });
      opened.addEventListener("message", (event) => {
        answered = true;
        const message = parse(event.data);
        if (!message || socket !== opened) return; // an old connection
        events += 1;
        accept(message);
      });
      opened.addEventListener("close", lost);
    };

    signal?.addEventListener("abort", () => finish(resolve, null));
    timers.push(setInterval(() => socket?.readyState !== WebSocket.OPEN && ask(), POLL_MS));
    connect();
  });
}

/** A job's state; null for anything else (a pong). */
function parse(text) {
  try {
    const message = JSON.parse(text);
    return typeof message?.status === "string" ? message : null;
  } catch {
    return null;
  }
}
