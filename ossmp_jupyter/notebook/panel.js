// The upload panel; CSS is a constant that comes with the script. Text goes in by textContent only: file names and keys are not ours.
const ACTIONS = [["Abort", "abort", "A"], ["List parts", "parts", "L"], ["Pause", "pause", "P"], ["Resume", "resume", "R"]];
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
let more;
const MANY = 3; // uploads from which on they can be sorted and filtered

// One view. hub: the kernel's one model that speaks; only: the IDs to show, or null for all of them.
export function draw(hub, only, el) {
  const own = new Map();
  const mine = JSON.stringify(only), before = memory.get(mine) || {};
  let chosen = before.chosen || null, asked = null, heard = Date.now(), active = false, frame = 0, listing = null, last = 0, lost = null, ids = [];
  const shows = (id) => !only || only.includes(id);
  const root = make("div", "ossmp-panel", el);
  make("style", "", root, CSS);
  const tools = make("div", "ossmp-tools", root);
  tools.setAttribute("role", "toolbar");
  tools.setAttribute("aria-label", "Actions on the selected upload");
  const buttons = ACTIONS.map(([text, verb, letter]) => [button(text, verb === "abort" && "ossmp-abort", tools, () => press(verb)), letter]);
  const all = make("span", "ossmp-tools", tools);
  button("Pause all", "", all, () => send("pauseall"));
  button("Resume all", "", all, () => send("resumeall"));
  const order = make("span", "ossmp-tools", tools), find = make("input", "", order), sort = make("select", "", order);
  find.type = "search";
  find.placeholder = find.ariaLabel = "Filter";
  sort.ariaLabel = "Sort by";
  for (const by of ["newest", "name", "state", "progress"]) make("option", "", sort, by);
  find.oninput = sort.onchange = () => arrange();
  const ask = make("span", "ossmp-tools ossmp-ask", tools);
  ask.setAttribute("role", "group");
  const question = make("span", "", ask);
  button("Yes, abort", "ossmp-abort", ask, () => { const id = asked; confirmed(null); send("abort", id); buttons[0][0].focus(); });
  const keep = button("Keep", "", ask, () => { confirmed(null); buttons[0][0].focus(); });
  ask.onkeydown = (e) => { if (e.key === "Escape") keep.click(); };
  ask.hidden = true;
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
  const empty = make("div", "ossmp-empty", scroll, "No uploads.");
  const parts = make("div", "ossmp-partsbox", root);
  parts.hidden = true;
  const status = make("div", "ossmp-status", root);
  status.setAttribute("role", "status");
  status.setAttribute("aria-live", "polite");
  const radios = "ossmp" + Math.random().toString(36).slice(2);

  const remember = (what) => memory.set(mine, { ...memory.get(mine), ...what });
  function say(text, bad) { put(status, text); status.classList.toggle("ossmp-bad", !!bad); remember({ text, bad }); }
  function send(verb, id, page) {
    try { hub.send({ t: "do", do: verb, id, page: page || 0 }); } catch (e) { say("The kernel cannot be reached: " + e, true); }
  }
  function confirmed(id) {
    asked = id;
    ask.hidden = !id;
    if (id) { put(question, "Abort " + own.get(id).data.name + " and delete what was sent?"); keep.focus(); }
  }
  function press(verb) {
    if (!chosen) return say("Select an upload first.");
    if (verb === "abort") return confirmed(chosen);
    if (verb === "parts") say("Asking for the parts…");
    send(verb, chosen);
  }
  function enable() {
    const can = chosen && own.has(chosen) && lost !== "over" ? own.get(chosen).data.can || "" : "";
    for (const [b, letter] of buttons) b.disabled = !can.includes(letter);
    if (asked && (!own.has(asked) || !(own.get(asked).data.can || "").includes("A"))) confirmed(null);
  }
  function choose(id) {
    chosen = id;
    remember({ chosen });
    for (const [key, row] of own) { row.radio.checked = key === id; row.group.classList.toggle("ossmp-selected", key === id); }
    if (asked && asked !== id) confirmed(null);
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
    return row;
  }
  function paint(row) {
    const d = { error: "", speed: "", eta: "", parts: "", size: "", upload_id: "", can: "", percent: 0, ...row.data };
    row.tr.dataset.state = d.state;
    row.tr.dataset.uploadId = d.upload_id;
    row.radio.setAttribute("aria-label", "Select " + d.name + ", " + d.words);
    for (const key of ["name", "speed", "parts", "words", "error"]) put(row[key], d[key]);
    row.below.hidden = !d.error;
    if (listing && listing.id === d.id && !d.can) hideParts(); // done or aborted: OSS has no parts of it
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
    row.bar.setAttribute("aria-label", d.name);
  }
  function arrange() {
    const text = find.value.toLowerCase(), by = sort.value, rows = ids.map((id) => own.get(id)).filter(Boolean);
    if (by === "progress") rows.sort((a, b) => (a.data.percent || 0) - (b.data.percent || 0));
    else if (by !== "newest") rows.sort((a, b) => a.data[by].localeCompare(b.data[by]));
    rows.forEach(({ group, data: d }, i) => {
      if (table.tBodies[i] !== group) table.insertBefore(group, table.tBodies[i] || null);
      group.hidden = !(d.name + d.address + d.words).toLowerCase().includes(text);
    });
  }
  function flush() {
    frame = 0;
    for (const row of own.values()) if (row.dirty) { row.dirty = false; paint(row); }
    empty.hidden = own.size > 0;
    all.hidden = own.size < 2;
    order.hidden = own.size < MANY;
    arrange();
    table.hidden = !own.size;
    enable();
  }
  function take(rows, order) {
    if (!order && !rows.some((data) => shows(data.id))) return;
    for (const data of rows) if (shows(data.id)) { const row = own.get(data.id) || build(data.id); row.data = data; row.dirty = true; }
    if (order) {
      for (const [id, row] of own) if (!order.includes(id)) { row.group.remove(); own.delete(id); if (chosen === id) chosen = null; }
      ids = order.filter((id) => own.has(id));
      if (ids.length && !own.has(chosen)) choose(ids[0]);
      else if (chosen) choose(chosen);
    }
    if (!frame) frame = requestAnimationFrame(flush);
  }
  function hideParts() { parts.hidden = true; listing = null; remember({ listing }); }
  async function showParts(m) {
    listing = m;
    remember({ listing });
    // What only a live page needs comes from the kernel: every saved notebook carries this script.
    more ||= import(URL.createObjectURL(new Blob([m.script], { type: "text/javascript" })));
    (await more).show(parts, m, { make, button, send, hide: hideParts });
  }
  function onmessage(m) {
    heard = Date.now();
    lose(null);
    if (last && m.n > last + 1 && !m.order) hello(); // a message was lost: ask for everything
    last = m.n;
    if (m.t === "rows") { active = m.active; take(m.rows, m.order); }
    else if (m.t === "say" && (!m.id || shows(m.id))) say(m.text, m.bad);
    else if (m.t === "parts" && shows(m.id) && (m.id === chosen || (listing && listing.id === m.id))) { say(m.text); showParts(m); }
    else if (m.t === "map" && more) more.then((script) => script.map(parts, m));
  }
  const restore = () => take(hub.get("rows"), hub.get("rows").map((row) => row.id));
  const tell = (t) => { try { hub.send({ t, page: PAGE, hidden: document.hidden }); } catch (e) { /* a saved page without a kernel */ } };
  const hello = () => tell("hello");
  const seen = () => tell(document.hidden ? "hidden" : "hello");
  // Why there is no news: null for none, "over" is for good.
  function lose(why) {
    if (lost === "over") return;
    lost = why;
    // what is finished needs no kernel
    gone.hidden = !why || (why === "over" && ![...own.values()].some((row) => row.data.can));
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
  if (before.text) say(before.text, before.bad);
  if (before.listing) showParts(before.listing);
  hello();
  return () => {
    for (const signal of signals) signal.disconnect(watchKernel);
    clearInterval(watch);
    cancelAnimationFrame(frame);
    hub.off("msg:custom", onmessage);
    document.removeEventListener("visibilitychange", seen);
    root.remove();
  };
}
