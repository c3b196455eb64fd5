// The view. Whatever others wrote (names, owners, notes, reasons) becomes text, never markup.
"use strict";

const MINUTES = 5 * 60;
const EVENTS_MAX = 80;
const TICKS_MAX = 6;
const byId = (id) => document.getElementById(id);
const say = (id, text) => { byId(id).textContent = text; };
const element = (tag, className, text) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};
const drawn = (tag, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};

// Names and owners come encoded: every byte that needs it as =XX.
const decoded = (name) => {
  const bytes = [];
  for (let at = 0; at < name.length; at += 1) {
    if (name[at] === "=") { bytes.push(parseInt(name.slice(at + 1, at + 3), 16)); at += 2; } else bytes.push(name.charCodeAt(at));
  }
  return new TextDecoder().decode(new Uint8Array(bytes));
};
const three = (number) => Number.isInteger(number) ? `${number}` : number < 10 ? number.toFixed(2) : number < 100 ? number.toFixed(1) : number.toFixed(0);
const millis = (ms) => ms === null || ms === undefined ? "–" : ms < 1000 ? `${three(ms)} ms` : ms < 600000 ? `${three(ms / 1000)} s` : span(ms);
const decadeOf = (ms) => ms < 1000 ? `${ms} ms` : `${ms / 1000} s`;
const span = (ms) => {
  const s = Math.max(0, ms) / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  return s < 172800 ? `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min` : `${Math.floor(s / 86400)} d`;
};
const short = (number) => number >= 1e6 ? `${three(number / 1e6)} M` : number >= 1e4 ? `${three(number / 1e3)} k` : `${Math.round(number)}`;
const percent = (rate) => `${(rate * 100).toFixed(1)} %`;
const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });

// Makes the children of `parent` one for each item, and keeps those that are there already.
const sync = (parent, items, keyOf, make, update) => {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const key = keyOf(item);
    let child = old.get(key);
    if (child) old.delete(key); else { child = make(item); child.dataset.key = key; }
    update(child, item);
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  old.forEach((child) => child.remove());
};
const cells = (...classes) => () => {
  const row = element("tr");
  row.append(...classes.map((name) => element("td", name)));
  return row;
};
const fill = (row, texts) => texts.forEach((text, index) => {
  const cell = row.cells[index];
  if (typeof text === "function") text(cell); else if (cell.textContent !== text) { cell.textContent = text; cell.title = text; }
});
// The end of a name tells it from its neighbours: where there is no room, it is cut before that.
const END = 10;
const link = (text) => (cell) => {
  if (!cell.firstChild) cell.append(element("button", "link"));
  const button = cell.firstChild;
  if (button.textContent === text) return;
  const letters = [...text];
  button.replaceChildren(element("span", "", letters.slice(0, -END).join("")), element("span", "", letters.slice(-END).join("")));
  cell.title = text;
};

// Time left is counted down between two pictures.
const longest = new Map();
const countdowns = new Map();
const timeLeft = (holder) => (cell) => {
  if (!holder) { countdowns.delete(cell); cell.replaceChildren(); return; }
  if (!cell.firstChild) {
    const left = element("div", "left"), bar = element("div", "bar");
    bar.append(element("b"));
    left.append(bar, element("span"));
    cell.append(left);
  }
  if (holder.expires_in_ms === null) { countdowns.delete(cell); show(cell, null, 1); return; }
  const most = Math.max(longest.get(holder.token) ?? 1, holder.expires_in_ms);
  longest.set(holder.token, most);
  countdowns.set(cell, { until: performance.now() + holder.expires_in_ms, most });
};
const show = (cell, left, share) => {
  const [bar, text] = cell.firstChild.children;
  bar.firstChild.style.width = `${Math.round(share * 100)}%`;
  bar.firstChild.className = left === null ? "unknown" : share < 0.25 ? "short" : "";
  text.textContent = left === null ? "unknown" : span(left);
};
const countDown = () => {
  const now = performance.now();
  for (const [cell, { until, most }] of countdowns) {
    if (!cell.isConnected) countdowns.delete(cell); else show(cell, until - now, Math.min(1, Math.max(0, (until - now) / most)));
  }
};

// Charts: five minutes, one point a second.
class Chart {
  constructor(id, title, series, { log, format, tick }) {
    Object.assign(this, { series, log, format, tick, seconds: [], hover: null });
    this.caption = document.querySelector(`#${id} figcaption`);
    this.plot = document.querySelector(`#${id} .plot`);
    this.caption.append(element("b", "", title), ...series.map((one) => element("i", one.colour)));
    this.svg = drawn("svg", { viewBox: `0 0 ${MINUTES} 100`, preserveAspectRatio: "none", role: "img", "aria-label": title });
    this.lines = Array.from({ length: TICKS_MAX }, () => drawn("line", { x1: 0, x2: MINUTES }));
    this.paths = series.map((one) => drawn("path", { class: one.colour }));
    this.cursor = drawn("line", { class: "cursor", y1: 0, y2: 100, visibility: "hidden" });
    this.svg.append(...this.lines, ...this.paths, this.cursor);
    this.ticks = this.lines.map(() => element("span", "y"));
    const times = [["–5 min", 0], ["–2.5 min", .5], ["now", 1]].map(([text, at]) => {
      const made = element("span", "x", text);
      made.style.left = `calc(2.9rem + (100% - 2.9rem) * ${at})`;
      made.style.transform = `translateX(-${at * 100}%)`;
      return made;
    });
    this.plot.append(this.svg, ...this.ticks, ...times);
    this.plot.addEventListener("pointermove", (event) => {
      const box = this.svg.getBoundingClientRect();
      const at = Math.round((event.clientX - box.left) / box.width * MINUTES);
      this.hover = at >= 0 && at <= MINUTES ? at : null;
      this.draw();
    });
    this.plot.addEventListener("pointerleave", () => { this.hover = null; this.draw(); });
  }
  draw(seconds = this.seconds) {
    this.seconds = seconds;
    const last = seconds.at(-1)?.second ?? 0;
    const values = seconds.flatMap((second) => this.series.map((one) => second[one.field])).filter((value) => value > 0);
    const decade = (value, round) => 10 ** round(Math.log10(value));
    const top = this.log ? decade(Math.max(...values, 10), Math.ceil) : nice(Math.max(...values, 10));
    const floor = this.log ? decade(Math.min(Math.max(0.1, Math.min(...values)), 1), Math.floor) : 0;
    const height = (value) => this.log
      ? 100 - 100 * Math.max(0, Math.log(Math.max(value, floor) / floor) / Math.log(top / floor))
      : 100 - 100 * value / top;
    this.series.forEach((one, index) => {
      let path = "", pen = false;
      for (const second of seconds) {
        const value = second[one.field];
        if (value === null || value === undefined) { pen = this.log ? false : pen; continue; }
        path += `${pen ? "L" : "M"}${MINUTES - (last - second.second)} ${height(value).toFixed(2)}`;
        if (!pen) path += "h.01";
        pen = true;
      }
      this.paths[index].setAttribute("d", path);
    });
    const decades = this.log ? Math.round(Math.log10(top / floor)) : 2;
    const step = Math.ceil((decades + 1) / TICKS_MAX);
    this.ticks.forEach((tick, index) => {
      const value = this.log ? floor * 10 ** (index * step) : top * index / 2;
      const shown = value <= top * 1.01 && index * step <= decades;
      const y = shown ? height(value) : 0;
      tick.hidden = !shown;
      this.lines[index].setAttribute("visibility", shown ? "visible" : "hidden");
      this.lines[index].setAttribute("y1", y);
      this.lines[index].setAttribute("y2", y);
      tick.textContent = shown ? this.tick(value) : "";
      tick.style.top = `calc((100% - 1.1rem) * ${y / 100})`;
    });
    this.point(last);
  }
  point(last) {
    const at = this.hover === null ? last : last - (MINUTES - this.hover);
    const second = this.seconds.find((one) => one.second === at);
    this.series.forEach((one, index) => {
      const value = second?.[one.field];
      this.caption.children[index + 1].textContent = `${one.label} ${value === null || value === undefined ? "–" : this.format(value)}`;
    });
    this.cursor.setAttribute("visibility", this.hover === null ? "hidden" : "visible");
    if (this.hover !== null) { this.cursor.setAttribute("x1", this.hover); this.cursor.setAttribute("x2", this.hover); }
  }
}
const nice = (value) => {
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 5, 10].find((step) => step * size >= value) * size;
};
const charts = [
  new Chart("rates", "A second", [
    { field: "grants", label: "granted", colour: "blue" }, { field: "contended", label: "met others", colour: "amber" },
    { field: "refused", label: "in vain", colour: "red" }], { log: false, format: short, tick: short }),
  new Chart("latencies", "Acquire times", [
    { field: "acquire_p50_ms", label: "p50", colour: "teal" }, { field: "acquire_p99_ms", label: "p99", colour: "blue" },
    { field: "wait_p99_ms", label: "wait p99", colour: "amber" }], { log: true, format: millis, tick: decadeOf }),
];

const view = { source: null, seconds: [], events: [], chosen: "", fresh: true };

const tile = (id, text, small, bad) => {
  const at = byId(id);
  at.replaceChildren(text, ...(small ? [element("small", "", small)] : []));
  at.classList.toggle("bad", Boolean(bad));
};
const showTiles = (picture) => {
  const { total } = picture.stats, last = view.seconds.slice(-10);
  const rate = last.reduce((sum, second) => sum + second.grants, 0) / Math.max(1, last.length);
  tile("holders", short(total.holders));
  tile("waiters", short(total.waiters));
  tile("rate", `${rate < 10 ? rate.toFixed(1) : short(rate)} /s`, `${short(total.acquires)} in all`);
  tile("contention", percent(total.contention_rate));
  tile("acquire", millis(total.acquire_ms.p99), `p50 ${millis(total.acquire_ms.p50)}`);
  tile("release", millis(total.release_ms.p99), `p50 ${millis(total.release_ms.p50)}`);
  tile("expired", short(total.expiries), `${short(total.timeouts)} timeouts`);
  tile("store", total.in_doubt + total.conflicts ? `${short(total.in_doubt)} in doubt` : "fine", `${short(total.conflicts)} conflicts`, total.in_doubt);
};
const modeOf = (lock) => lock.mode === "counting" ? `counting, ${lock.capacity} permits` : lock.mode;
const holdersOf = (lock) => {
  if (!lock.holder_count) return "nobody yet";
  const first = lock.holders[0] ? decoded(lock.holders[0].owner) : "";
  const more = lock.holder_count > 1 ? ` and ${lock.holder_count - 1} more` : "";
  return `${first}${more}${lock.mode === "exclusive" ? "" : ` (${modeOf(lock)})`}`;
};
const showLocks = (picture) => {
  const locks = [...picture.list.locks].sort((one, other) => other.waiter_count - one.waiter_count || (one.name < other.name ? -1 : 1));
  sync(byId("locks").tBodies[0], locks, (lock) => lock.name, cells("name", "", "", "n", "wide"), (row, lock) => {
    const next = lock.waiters?.[0];
    fill(row, [link(decoded(lock.name)), holdersOf(lock), timeLeft(lock.holders[0]), String(lock.waiter_count),
      next ? `${decoded(next.owner)}, ${span(next.waited_ms)}` : ""]);
    row.cells[3].classList.toggle("waits", lock.waiter_count > 0);
    row.classList.toggle("chosen", lock.name === view.chosen);
  });
  say("count", locks.length ? `${locks.length}${picture.more ? " of more: filter to see others" : ""}` : "");
  byId("nothing").hidden = locks.length > 0;
};
const showBusiest = (picture) => sync(byId("busiest").tBodies[0], picture.stats.locks, (lock) => lock.name,
  cells("name", "n", "n", "n", "n", "n", "n", "n", "n"), (row, lock) => {
    fill(row, [link(decoded(lock.name)), short(lock.acquires), percent(lock.contention_rate), millis(lock.acquire_ms.p99),
      millis(lock.wait_ms.p99), millis(lock.held_ms.p99), short(lock.expiries), short(lock.holders), short(lock.waiters)]);
    row.classList.toggle("chosen", lock.name === view.chosen);
  });
const about = (event) => {
  const parts = [decoded(event.owner)];
  if (event.kind === "granted") parts.push(`token ${event.token}`);
  if (event.held_ms !== undefined) parts.push(`held ${span(event.held_ms)}`);
  if (event.reason && event.reason !== event.kind) parts.push(event.reason);
  if (event.next_owner) parts.push(`to ${decoded(event.next_owner)}`);
  return parts.join(" · ");
};
const showEvents = (picture) => {
  const prefix = byId("prefix").value;
  const news = picture.events.filter((event) => decoded(event.name).startsWith(prefix));
  news.forEach((event) => { view.count = (view.count ?? 0) + 1; event.key = String(view.count); });
  view.events = [...news.reverse(), ...view.events].slice(0, EVENTS_MAX);
  sync(byId("events"), view.events, (event) => event.key, (event) => {
    const row = element("li", event.kind), what = element("p");
    what.append(decoded(event.name), " ", element("span", "", about(event)));
    what.title = what.textContent;
    row.append(element("time", "", clock(event.at_ms)), element("span", "kind", event.kind), what);
    return row;
  }, () => {});
  byId("quiet").hidden = view.events.length > 0;
};
const showDetail = (picture) => {
  byId("detail").hidden = !view.chosen;
  if (!view.chosen) return;
  const lock = picture.detail ?? { mode: "exclusive", holders: [], waiters: [], holder_count: 0, waiter_count: 0 };
  say("detail-name", decoded(view.chosen));
  say("detail-state", picture.detail
    ? `${modeOf(lock)}, ${lock.holder_count} holding, ${lock.waiter_count} waiting` : "free");
  byId("detail-release").hidden = document.documentElement.dataset.admin !== "true" || !lock.holder_count;
  const figures = picture.stats.locks.find((one) => one.name === view.chosen);
  const shown = figures ? [["acquires", short(figures.acquires)], ["met others", percent(figures.contention_rate)],
    ["acquire p50 / p99", `${millis(figures.acquire_ms.p50)} / ${millis(figures.acquire_ms.p99)}`],
    ["wait p50 / p99", `${millis(figures.wait_ms.p50)} / ${millis(figures.wait_ms.p99)}`],
    ["held p50 / p99", `${millis(figures.held_ms.p50)} / ${millis(figures.held_ms.p99)}`],
    ["hand-overs", short(figures.handovers)], ["timeouts", short(figures.timeouts)], ["expired", short(figures.expiries)]] : [];
  sync(byId("detail-figures"), shown, ([name]) => name, ([name]) => {
    const pair = element("div");
    pair.append(element("dt", "", name), element("dd"));
    return pair;
  }, (pair, [, value]) => { pair.lastChild.textContent = value; });
  sync(byId("detail-holders").tBodies[0], lock.holders, (holder) => String(holder.token), cells("", "", "", "n", "note"), (row, holder) =>
    fill(row, [decoded(holder.owner), timeLeft(holder), span(holder.held_ms), String(holder.token), holder.note ?? ""]));
  sync(byId("detail-waiters").tBodies[0], lock.waiters ?? [], (waiter) => `${waiter.position}`, cells("n", "", "", ""), (row, waiter) =>
    fill(row, [String(waiter.position), decoded(waiter.owner), waiter.mode, span(waiter.waited_ms)]));
};

const STATUS = { leading: ["leading", "good"], standby: ["standing by", ""], silent: ["silent: not sure of its leadership", "bad"], ended: ["ended", "bad"] };
const showStatus = (picture) => {
  const [text, kind] = STATUS[picture.status] ?? [picture.status, "bad"];
  say("status", text);
  byId("status").className = `pill ${kind}`;
  say("epoch", picture.epoch ? `epoch ${picture.epoch}` : "");
};
const showAll = (picture) => {
  document.body.classList.remove("cut");
  showStatus(picture);
  if (!picture.stats) return;
  say("namespace", picture.namespace);
  say("since", new Date(picture.stats.since_ms).toLocaleString());
  if (view.fresh) { view.seconds = []; view.events = []; view.fresh = false; }
  view.seconds = [...view.seconds, ...picture.seconds].slice(-MINUTES);
  showTiles(picture);
  showLocks(picture);
  showBusiest(picture);
  showEvents(picture);
  showDetail(picture);
  countDown();
  charts.forEach((chart) => chart.draw(view.seconds));
  if (longest.size > 10000) longest.clear();
};

const connect = () => {
  view.source?.close();
  const wanted = new URLSearchParams({ prefix: byId("prefix").value, lock: view.chosen });
  view.fresh = true;
  view.source = new EventSource(`live?${wanted}`);
  view.source.onmessage = (message) => showAll(JSON.parse(message.data));
  view.source.onerror = () => {
    // It connects again by itself, and is told everything anew.
    view.fresh = true;
    document.body.classList.add("cut");
    say("status", "no connection");
    byId("status").className = "pill bad";
    if (view.source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
};
const choose = (name) => {
  view.chosen = name;
  history.replaceState(null, "", name ? `#${name}` : location.pathname);
  byId("detail").hidden = !name;
  byId("detail-holders").tBodies[0].replaceChildren();
  byId("detail-waiters").tBodies[0].replaceChildren();
  if (name) { say("detail-name", decoded(name)); say("detail-state", ""); byId("detail").scrollIntoView({ block: "nearest" }); }
  connect();
};
for (const id of ["locks", "busiest"]) {
  byId(id).tBodies[0].addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row) choose(row.dataset.key === view.chosen ? "" : row.dataset.key);
  });
}
byId("detail-close").addEventListener("click", () => choose(""));
byId("detail-release").addEventListener("click", async () => {
  if (!confirm(`End every lease of ${decoded(view.chosen)}? Its holders may not hear of it.`)) return;
  const answer = await fetch(`release?${new URLSearchParams({ lock: view.chosen })}`, { method: "POST", headers: { "x-natslock-view": "1" } });
  say("detail-state", await answer.text());
});
let typing;
byId("prefix").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(connect, 250); });
setInterval(countDown, 200);
view.chosen = location.hash.slice(1);
connect();
