// The upload panel; CSS is a constant that comes with the script. Text goes in by textContent only: file names and keys are not ours.
const ACTIONS = [["Abort", "abort", "A"], ["List parts", "parts", "LD"], ["Pause", "pause", "P"], ["Resume", "resume", "R"]];
const SILENCE = 6000; // ms without a word from the kernel while uploads run
const AGAIN = "In a new one run %load_ext, %oss_connect and this cell, or %oss_uploads: uploads go on where they were.";
const LOST = {
  silent: "No news from the kernel: busy, or gone. " + AGAIN,
  cut: "No connection to the kernel; uploads go on there.",
  over: "The kernel that ran these uploads is gone. " + AGAIN,
};
const OVER = ["restarting", "autorestarting", "dead", "terminating"];
const PAGE = Math.random().toString(36).slice(2);

function make(tag, cls, parent, text) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  if (parent) parent.appendChild(node);
  return node;
}
function put(node, text) { if (node.textContent !== text) node.textContent = text; }
function button(text, cls, parent, onclick) {
  const b = make("button", "ossmp-button" + (cls ? " " + cls : ""), parent, text);
  b.type = "button";
  b.onclick = onclick;
  return b;
}
function short(id) { return id.length > 12 ? id.slice(0, 8) + "…" : id; }

// What a view said, kept for the next view of the same rows: a display is drawn anew when its cell ends.
const memory = new Map();
// What only a live page needs comes from the kernel, once a page: every saved notebook carries this script.
let arrive, wanted = 0;
const live = new Promise((done) => { arrive = done; });
const script = (url) => import(url).finally(() => URL.revokeObjectURL(url));

// One view. hub: the kernel's one model that speaks; only: the IDs to show, or null for all of them.
export function draw(hub, only, el) {
  const own = new Map();
  const mine = JSON.stringify(only), before = memory.get(mine) || {};
  let chosen = before.chosen || null, more = null, heard = Date.now(), active = false, frame = 0, last = 0, lost = null, ids = [], ended = false, swept = 0, later = 0;
  const shows = (id) => !only || only.includes(id);
  const root = make("div", "ossmp-panel", el);
  root.tabIndex = -1;
  make("style", "", root, CSS);
  const tools = make("div", "ossmp-tools", root);
  tools.setAttribute("role", "group");
  tools.setAttribute("aria-label", "Actions on the selected upload");
  const buttons = ACTIONS.map(([text, verb, letter]) => [button(text, verb === "abort" && "ossmp-abort", tools, () => press(verb)), letter]);
  const gone = make("div", "ossmp-gone", root);
  gone.setAttribute("role", "alert");
  gone.hidden = true;
  const scroll = make("div", "ossmp-scroll", root);
  const table = make("table", "ossmp-uploads", scroll);
  table.setAttribute("aria-label", "Uploads");
  const head = make("tr", "", make("thead", "", table));
  for (const [title, cls] of [[""], ["Upload"], ["State"], ["Progress"], ["Speed", "ossmp-number"], ["Parts", "ossmp-number"],
    ["Upload ID"]]) make("th", cls, head, title).scope = "col";
  head.firstChild.setAttribute("aria-label", "Selected");
  const eyes = new IntersectionObserver((list) => {
    for (const { target, isIntersecting } of list) target.ossmp.away = !isIntersecting;
    soon();
  }, { root: scroll });
  const empty = make("div", "ossmp-empty", scroll, "No uploads.");
  const status = make("div", "ossmp-status", root);
  status.setAttribute("role", "status");
  status.setAttribute("aria-live", "polite");
  const radios = "ossmp" + Math.random().toString(36).slice(2);

  const remember = (what) => memory.set(mine, { ...memory.get(mine), ...what });
  function say(text, bad) { put(status, text); status.classList.toggle("ossmp-bad", !!bad); remember({ text, bad }); }
  function send(verb, id, page) {
    try { hub.send({ t: "do", do: verb, id, page: page || 0 }); } catch (e) { say("The kernel cannot be reached: " + e, true); }
  }
  function press(verb) {
    if (!chosen) say("Select an upload first.");
    else if (!more.press(verb, chosen)) send(verb, chosen);
  }
  // The focus never stays on what vanishes.
  const land = () => ((buttons.findLast(([b]) => !b.disabled) || [])[0] || own.get(chosen)?.radio || root).focus({ preventScroll: true });
  function enable() {
    const row = own.get(chosen), held = document.activeElement;
    const can = row && more && (!lost || lost === "silent") && !row.group.hidden ? row.data.can || "" : "";
    for (const [b, letter] of buttons) b.disabled = ![...can].some((one) => letter.includes(one));
    put(buttons[1][0], can === "D" ? "Details" : "List parts");
    if (held?.disabled && tools.contains(held)) land();
    more?.chosen(can);
  }
  function choose(id) {
    chosen = id;
    remember({ chosen });
    for (const [key, row] of own) { row.radio.checked = key === id; row.group.classList.toggle("ossmp-selected", key === id); }
    enable();
  }
  function build(id) {
    const group = make("tbody"), tr = make("tr", "", group), row = { group, tr };
    tr.dataset.id = id;
    tr.onclick = (e) => { if (e.target !== row.radio) choose(id); };
    row.radio = make("input", "", make("td", "", tr));
    row.radio.type = "radio";
    row.radio.name = radios;
    row.radio.onchange = () => choose(id);
    const name = make("td", "ossmp-name", tr);
    row.name = make("div", "", name);
    row.address = make("div", "ossmp-minor", name);
    const state = make("td", "ossmp-state", tr);
    row.words = make("div", "ossmp-words", state);
    row.retries = make("div", "ossmp-minor", state);
    row.bar = make("div", "ossmp-bar", make("td", "", tr));
    row.bar.setAttribute("role", "progressbar");
    row.fill = make("div", "", row.bar);
    row.size = make("div", "ossmp-minor", row.bar.parentNode);
    const pace = make("td", "ossmp-number", tr);
    row.speed = make("div", "", pace);
    row.eta = make("div", "ossmp-minor", pace);
    row.parts = make("td", "ossmp-number", tr);
    row.upload = make("code", "", make("td", "", tr));
    row.below = make("tr", "ossmp-below", group);
    make("td", "", row.below);
    row.error = make("td", "ossmp-error", row.below);
    row.error.colSpan = 6;
    own.set(id, row);
    group.ossmp = row;
    eyes.observe(group);
    return row;
  }
  function paint(row) {
    const d = { error: "", speed: "", eta: "", parts: "", size: "", upload_id: "", can: "", percent: 0, ...row.data };
    row.tr.dataset.state = d.state;
    row.tr.dataset.uploadId = d.upload_id;
    row.radio.setAttribute("aria-label", "Select " + (d.state === "unfinished" ? d.address : d.name) + ", " + d.words);
    for (const key of ["name", "speed", "parts", "words", "error"]) put(row[key], d[key]);
    row.below.hidden = !d.error;
    put(row.address, "→ " + d.address);
    put(row.size, (d.size.includes("/") ? Math.floor(d.percent) + " %, " : "") + d.size);
    put(row.eta, d.eta ? d.eta + " left" : "");
    put(row.retries, d.retries ? d.retries + " retried" : "");
    put(row.upload, short(d.upload_id));
    row.name.title = d.name;
    row.address.title = d.address;
    row.upload.parentNode.title = d.upload_id;
    row.fill.style.transform = "scaleX(" + d.percent / 100 + ")";
    row.bar.setAttribute("aria-valuenow", Math.floor(d.percent));
    row.bar.setAttribute("aria-valuetext", row.size.textContent || d.words);
    row.bar.setAttribute("aria-label", d.name);
  }
  function arrange() {
    const rows = ids.map((id) => own.get(id)).filter(Boolean), held = document.activeElement;
    (more ? more.sorted(rows) : rows).forEach(({ group }, i) => {
      if (table.tBodies[i] !== group) table.insertBefore(group, table.tBodies[i] || null);
    });
    if (held !== document.activeElement && table.contains(held)) held.focus({ preventScroll: true }); // what moves loses it
  }
  const soon = () => { frame ||= requestAnimationFrame(flush); };
  function flush() {
    frame = 0;
    // Of 200 rows a dozen are in view: the others are painted once a second, or when they say something else.
    const all = Date.now() - swept > 900;
    let left = false;
    for (const row of own.values()) {
      if (row.dirty && (all || !row.away || row.words.textContent !== row.data.words)) { row.dirty = false; paint(row); }
      left ||= row.dirty;
    }
    if (all) swept = Date.now();
    if (left && !later) later = setTimeout(() => { later = 0; soon(); }, 1000);
    empty.hidden = own.size > 0;
    arrange();
    table.hidden = !own.size;
    enable();
  }
  function take(rows, order) {
    if (!order && !rows.some((data) => shows(data.id))) return;
    for (const data of rows) if (shows(data.id)) { const row = own.get(data.id) || build(data.id); row.data = data; row.dirty = true; }
    if (order) {
      const held = document.activeElement, was = own.get(chosen), near = was?.group.contains(held) || buttons.some(([b]) => b === held);
      for (const [id, row] of own) if (!order.includes(id)) { row.group.remove(); own.delete(id); if (chosen === id) chosen = null; }
      ids = order.filter((id) => own.has(id));
      if (ids.length && !own.has(chosen)) choose(ids[0]);
      else if (chosen) choose(chosen);
      if (near && was && own.get(chosen) !== was) (own.get(chosen)?.radio || root).focus({ preventScroll: true });
    }
    soon();
  }
  function onmessage(m) {
    heard = Date.now();
    lose(null);
    if (last && m.n > last + 1 && !m.order) hello(); // a message was lost: ask for everything
    last = m.n;
    if (m.t === "rows") { active = m.active; take(m.rows, m.order); }
    else if (m.t === "script") {
      if (arrive) arrive(script(URL.createObjectURL(new Blob([m.text], { type: "text/javascript" }))));
      arrive = null;
    } else if (!m.id || shows(m.id)) m.t === "say" ? say(m.text, m.bad) : more?.message(m);
  }
  const restore = () => take(hub.get("rows"), hub.get("rows").map((row) => row.id));
  const tell = (t) => { try { hub.send({ t, page: PAGE, hidden: document.hidden }); } catch (e) { /* a saved page without a kernel */ } };
  const hello = () => { tell("hello"); if (arrive && Date.now() - wanted > 2000) { wanted = Date.now(); send("script"); } };
  const seen = () => tell(document.hidden ? "hidden" : "hello");
  // Why there is no news: null for none, "over" is for good.
  function lose(why) {
    if (lost === "over") return;
    lost = why;
    // what is finished needs no kernel
    gone.hidden = !why || (why === "over" && ![...own.values()].some((row) => /[APR]/.test(row.data.can)));
    put(gone, LOST[why] || "");
    enable();
  }
  const kernel = hub.widget_manager?.kernel; // JupyterLab, Notebook and Voilà; elsewhere silence tells
  const signals = ["statusChanged", "connectionStatusChanged", "disposed"].map((name) => kernel?.[name]).filter((s) => s?.connect);
  function watchKernel() {
    if (kernel.isDisposed || OVER.includes(kernel.status)) lose("over");
    else if (kernel.connectionStatus !== "connected") lose("cut");
    else if (lost === "cut") { lose(null); hello(); }
  }
  const watch = setInterval(() => {
    const still = active && !lost ? Date.now() - heard : 0;
    if (still > SILENCE) lose("silent");
    else if (still > SILENCE / 2) hello(); // the last message may be the one that was lost
  }, 1000);
  hub.on("msg:custom", onmessage);
  document.addEventListener("visibilitychange", seen);
  for (const signal of signals) signal.connect(watchKernel);
  restore();
  if (hub.comm_live === false) lose("over"); // from a saved notebook, of an earlier kernel
  if (before.text) say(before.text, before.bad);
  hello();
  live.then(({ attach }) => {
    if (ended) return;
    more = attach({ hub, only, own, el, root, tools, status, table, before, buttons, chosen: () => chosen, choose, make, put, button, send, say, remember, arrange, gone, lost: () => lost });
    flush();
  });
  return () => {
    ended = true;
    more?.end();
    for (const signal of signals) signal.disconnect(watchKernel);
    clearInterval(watch);
    cancelAnimationFrame(frame);
    clearTimeout(later);
    eyes.disconnect();
    hub.off("msg:custom", onmessage);
    document.removeEventListener("visibilitychange", seen);
    root.remove();
  };
}
