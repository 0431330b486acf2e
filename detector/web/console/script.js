// Live updates: when the daemon says that something changed, the page fetches itself and takes over the parts marked data-live.
// Without this script every page works the same, as of the moment it was loaded.
"use strict";
(() => {
  const body = document.body;
  const LOOK_MS = 15000;
  const LEAST_MS = 400;
  let busy = false, again = false, last = 0, polling = 0;

  const keepOpen = (from, to) => {
    for (const old of from.querySelectorAll("details[id][open]")) {
      const fresh = to.querySelector("#" + CSS.escape(old.id));
      if (fresh) fresh.open = true;
    }
  };

  // what has the focus keeps it when the part around it is exchanged
  const nameOf = (each) => each.id || each.getAttribute("href") || each.getAttribute("formaction")
    || (each.matches("summary") ? each.parentElement.id : "") || each.getAttribute("aria-label");

  const keepTyped = (from, to) => {
    for (const old of from.querySelectorAll("input[id], textarea[id]")) {
      const fresh = old.value === old.defaultValue ? null : to.querySelector("#" + CSS.escape(old.id));
      if (fresh) fresh.value = old.value;
    }
  };

  const isBusy = (part) => {
    const active = document.activeElement;
    if (!active || !part.contains(active)) return false;
    return active.matches("input, textarea, select");
  };

  const swap = (fresh) => {
    const focused = document.activeElement;
    for (const part of document.querySelectorAll("[data-live][id]")) {
      const next = fresh.getElementById(part.id);
      if (!next || isBusy(part) || next.isEqualNode(part)) continue;
      const inside = part.contains(focused) ? nameOf(focused) : null;
      keepOpen(part, next);
      keepTyped(part, next);
      part.replaceWith(document.adoptNode(next));
      if (inside) {
        const place = document.getElementById(part.id);
        const found = [...place.querySelectorAll("a, button, summary, [tabindex]")].find((each) => inside === nameOf(each));
        if (found) found.focus({preventScroll: true});
      }
    }
    if (document.title !== fresh.title) {
      document.title = fresh.title;
      document.getElementById("announcement").textContent = fresh.title;
    }
    body.dataset.revision = fresh.body.dataset.revision || "";
  };

  const refresh = async () => {
    if (busy) { again = true; return; }
    if (document.hidden) return;
    busy = true;
    try {
      const answer = await fetch(location.pathname + location.search, {credentials: "same-origin", cache: "no-store"});
      if (answer.redirected) { location.reload(); return; }
      if (answer.ok) swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
      body.classList.toggle("cut-off", !answer.ok);
    } catch {
      body.classList.add("cut-off");
    } finally {
      busy = false;
      last = Date.now();
      if (again) { again = false; setTimeout(refresh, LEAST_MS); }
    }
  };

  const mark = (words) => {
    const live = document.getElementById("live");
    live.hidden = false;
    live.textContent = words;
  };

  const poll = () => {
    mark("every 15 s");
    if (!polling) polling = setInterval(refresh, LOOK_MS);
  };

  const listen = () => {
    const events = new EventSource("/console/events?seen=" + encodeURIComponent(body.dataset.revision));
    events.addEventListener("open", () => {
      mark("live");
      body.classList.remove("cut-off");
      clearInterval(polling);
      polling = 0;
    });
    events.addEventListener("change", refresh);
    events.addEventListener("values", refresh);
    events.addEventListener("error", () => {
      if (events.readyState !== EventSource.CLOSED) {
        // the daemon ends each stream after a while, and the browser comes back; when it cannot, the page has to say so
        setTimeout(() => { if (events.readyState !== EventSource.OPEN) refresh(); }, 3000);
        return;
      }
      poll();
      setTimeout(listen, 4 * LOOK_MS);
    });
    window.addEventListener("pagehide", () => events.close(), {once: true});
  };

  if (!("revision" in body.dataset)) return;
  listen();
  document.addEventListener("visibilitychange", () => { if (!document.hidden && Date.now() - last > LEAST_MS) refresh(); });
})();
