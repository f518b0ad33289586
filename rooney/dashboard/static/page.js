// Keeps a page that is complete without it up to date: parts come as HTML from the server, nothing is computed here but
// ages and clocks. What a person unfolded, ticked, typed or focused is put back after a part was replaced.
"use strict";
(() => {
  const AMBER_S = 5, RED_S = 15;
  let heardMs = performance.now();

  function replace(id, html) {
    const part = document.getElementById("part-" + id);
    if (!part) return;
    const open = new Set([...part.querySelectorAll("details[open]")].map((one) => one.id));
    const fields = new Map([...part.querySelectorAll("input[id], select[id]")].map((one) => [one.id, one]));
    const wide = [...part.querySelectorAll(".wide")].map((one) => one.scrollLeft);
    const focus = part.contains(document.activeElement) ? document.activeElement.id : "";
    // a selection or a list that is unfolded would be lost: the next event brings the part again
    const selection = getSelection();
    if (!selection.isCollapsed && part.contains(selection.anchorNode)) return;
    if (document.activeElement instanceof HTMLSelectElement && part.contains(document.activeElement)) return;
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
  }

  function heard() {
    heardMs = performance.now();
    tick();
  }

  function listen() {
    const source = new EventSource(document.body.dataset.events);
    source.addEventListener("parts", (event) => {
      const { parts } = JSON.parse(event.data);
      for (const [id, html] of parts) replace(id, html);
      favicon();
      heard();
    });
    source.addEventListener("beat", heard);
    source.addEventListener("error", () => {
      // the browser comes back by itself, but not after an answer that was no stream
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
    });
    addEventListener("pagehide", () => source.close(), { once: true });
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
  listen();
  favicon();
  tick();
  setInterval(tick, 1000);
})();
