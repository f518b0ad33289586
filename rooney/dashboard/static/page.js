// Keeps a page that is complete without it up to date: parts come as HTML from the server, nothing is computed here but
// ages and clocks. What a person unfolded, ticked, typed or focused is put back after a part was replaced.
"use strict";
(() => {
  const AMBER_S = 5, RED_S = 15;
  let heardMs = performance.now();

  function replace(id, html) {
    const part = document.getElementById("part-" + id);
    if (!part) return true;
    const open = new Set([...part.querySelectorAll("details[open]")].map((one) => one.id));
    const fields = new Map([...part.querySelectorAll("input[id], select[id]")].map((one) => [one.id, one]));
    const wide = [...part.querySelectorAll(".wide")].map((one) => one.scrollLeft);
    const focus = part.contains(document.activeElement) ? document.activeElement.id : "";
    // a selection, or a list that is unfolded, would be lost: tried again
    const selection = getSelection();
    if (!selection.isCollapsed && part.contains(selection.anchorNode)) return false;
    if (document.activeElement instanceof HTMLSelectElement && part.contains(document.activeElement)) return false;
    part.innerHTML = html;
    for (const one of part.querySelectorAll("details[id]")) one.open = open.has(one.id);
    for (const one of part.querySelectorAll("input[id], select[id]")) {
      const before = fields.get(one.id);
      if (!before) continue;
      if (one.type === "checkbox") one.checked = before.checked;
      else if (one.tagName === "SELECT") one.value = before.value;
    }
    part.querySelectorAll(".wide").forEach((one, k) => { one.scrollLeft = wide[k] || 0; });
    if (focus) document.getElementById(focus)?.focus();
    return true;
  }

  function heard() {
    heardMs = performance.now();
    tick();
  }

  const latest = new Map(), shown = new Map(); // part → its HTML: as it came, and as it is in the page
  function draw() {
    for (const [id, html] of latest) {
      if (shown.get(id) !== html && replace(id, html)) shown.set(id, html);
    }
    favicon();
  }

  function take(parts) {
    for (const [id, html] of parts) latest.set(id, html);
    draw();
    heard();
  }

  function listen() {
    const source = new EventSource("/events" + document.body.dataset.query);
    source.addEventListener("parts", (event) => take(JSON.parse(event.data).parts));
    source.addEventListener("beat", heard);
    source.addEventListener("error", () => {
      // the browser comes back by itself, but not after an answer that was no stream
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
    });
    addEventListener("pagehide", () => source.close(), { once: true });
  }

  // A browser has six connections to one host for all its pages: four of them may stream, the others ask every second.
  const STREAMS = 4, POLL_MS = 800;
  async function holdSlot() {
    if (!navigator.locks) return true;
    for (let k = 0; k < STREAMS; k++) {
      const got = await new Promise((resolve) => {
        navigator.locks.request(`rooney-stream-${k}`, { ifAvailable: true }, (lock) => {
          resolve(lock !== null);
          return lock && new Promise(() => {}); // held for as long as the page lives
        });
      });
      if (got) return true;
    }
    return false;
  }

  let version = "", polls = 0;
  async function ask() {
    try {
      const answer = await fetch(`/parts${document.body.dataset.query}&v=${version}`);
      if (answer.status === 200) {
        const found = await answer.json();
        version = found.version;
        take(found.parts);
      } else if (answer.status === 204) heard();
    } catch {
      // the page turns grey by itself
    }
    if (++polls % 10 === 0 && await holdSlot()) listen();
    else setTimeout(ask, POLL_MS);
  }

  function favicon() {
    const wanted = document.querySelector("[data-favicon]")?.dataset.favicon;
    const link = document.querySelector("link[rel=icon]");
    if (wanted && link.getAttribute("href") !== wanted) link.setAttribute("href", wanted);
  }

  const started = new WeakMap(); // element → when it was first seen: clocks go on from what the server said
  function since(element) {
    if (!started.has(element)) started.set(element, performance.now());
    return performance.now() - started.get(element);
  }

  function span(ms) {
    const s = Math.max(0, Math.floor(ms / 1000));
    const two = (n) => String(n).padStart(2, "0");
    return s >= 86400 ? `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`
      : s >= 3600 ? `${Math.floor(s / 3600)}:${two(Math.floor((s % 3600) / 60))} h`
      : `${Math.floor(s / 60)}:${two(s % 60)} min`;
  }

  function tick() {
    const age = (performance.now() - heardMs) / 1000;
    document.body.dataset.stale = age > RED_S ? "red" : age > AMBER_S ? "amber" : "";
    for (const one of document.querySelectorAll("[data-age]")) {
      one.textContent = age > AMBER_S ? `NOT LIVE: ${Math.floor(age)} s old` : "live";
    }
    for (const one of document.querySelectorAll("[data-clock]")) {
      const at = new Date(Number(one.dataset.clock) + (age > AMBER_S ? 0 : since(one)));
      one.textContent = at.toLocaleTimeString("en-GB", { timeZone: one.dataset.zone, hour12: false });
    }
    for (const one of document.querySelectorAll("[data-until]")) {
      one.textContent = "in " + span(Number(one.dataset.until) - Number(one.dataset.now) - since(one));
    }
  }

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea")) return;
    const choices = document.querySelectorAll(".choices a:not([aria-current])");
    if (/^[1-9]$/.test(event.key)) document.querySelectorAll("nav a")[Number(event.key) - 1]?.click();
    else if (event.key === "t") choices[0]?.click();
    else if (event.key === "c") choices[1]?.click();
  });

  document.documentElement.classList.add("live");
  holdSlot().then((isFree) => isFree ? listen() : ask());
  favicon();
  tick();
  setInterval(() => { draw(); tick(); }, 1000); // what could not be replaced is tried again
})();
