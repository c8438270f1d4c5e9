// What only a live page needs of the panel: all at once, filter and order, the question before an abort, details,
// files of this computer, cleaning up. Comes from the kernel when it is asked for.
const MANY = 3; // uploads from which on they can be sorted and filtered
const VIEW = "application/vnd.jupyter.widget-view+json";
const load = (text) => import(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
let details, spoke = 0;

export function attach(p) {
  const { hub, own, only, el, root, gone, lost, tools, status, before, buttons, make, put, button, send, say, remember } = p;
  let asked = null, listing = null;
  make("style", "", root, CSS);

  // -- all uploads at once, filter, order
  const all = make("span", "ossmp-tools", tools);
  button("Pause all", "", all, () => send("pauseall"));
  button("Resume all", "", all, () => send("resumeall"));
  const order = make("span", "ossmp-tools", tools), find = make("input", "", order), sort = make("select", "", order);
  find.type = "search";
  find.placeholder = find.ariaLabel = "Filter";
  sort.ariaLabel = "Sort by";
  for (const by of ["newest", "name", "state", "progress"]) make("option", "", sort, by);
  find.value = before.find || "";
  sort.value = before.sort || "newest";
  sort.onchange = () => { remember({ sort: sort.value }); p.arrange(); };
  find.oninput = () => {
    remember({ find: find.value });
    p.arrange();
    const shown = [...own].filter(([, row]) => !row.group.hidden);
    if (shown.length && own.get(p.chosen())?.group.hidden) p.choose(shown[0][0]);
    else p.choose(p.chosen());
    say(find.value ? shown.length + " of " + own.size + " uploads shown." : "");
  };
  find.onkeydown = (e) => {
    if (e.key !== "Escape" || !find.value) return;
    e.preventDefault();
    find.value = "";
    find.oninput();
  };
  function sorted(rows) {
    const text = find.value.toLowerCase(), by = sort.value;
    if (by === "progress") rows.sort((a, b) => (a.data.percent || 0) - (b.data.percent || 0));
    else if (by !== "newest") rows.sort((a, b) => a.data[by].localeCompare(b.data[by]));
    for (const { group, data: d } of rows) group.hidden = !(d.name + d.address + d.words).toLowerCase().includes(text);
    all.hidden = rows.length < 2;
    order.hidden = rows.length < MANY && !text;
    sweep.hidden = !!only || !rows.some((row) => row.data.state === "unfinished");
    return rows;
  }

  // -- the question before an abort
  const ask = make("div", "ossmp-tools ossmp-ask");
  tools.after(ask);
  ask.setAttribute("role", "group");
  ask.setAttribute("aria-label", "Abort?");
  const question = make("span", "", ask);
  const back = () => { confirm(null); if (!buttons[0][0].disabled) buttons[0][0].focus(); };
  button("Yes, abort", "ossmp-abort", ask, () => { const id = asked; back(); send("abort", id); });
  const keep = button("Keep", "", ask, back);
  ask.onkeydown = (e) => { if (e.key === "Escape") { e.preventDefault(); back(); } };
  ask.hidden = true;
  function confirm(id) {
    asked = id;
    ask.hidden = !id;
    const d = id && own.get(id).data;
    if (id) { put(question, "Abort " + (d.state === "unfinished" ? d.address : d.name) + " and delete what was sent?"); keep.focus(); }
  }

  // -- cleaning up: what the bucket holds of uploads that nobody will finish
  const clean = make("div", "ossmp-clean");
  tools.after(clean);
  clean.setAttribute("role", "group");
  clean.setAttribute("aria-label", "Clean up");
  clean.hidden = true;
  const sweep = button("Clean up…", "", tools, () => { clean.hidden = !clean.hidden; sweep.ariaExpanded = String(!clean.hidden); if (!clean.hidden) look(); });
  const how = make("div", "ossmp-tools", clean);
  make("span", "", how, "Abort unfinished uploads older than");
  const ages = make("select", "", how);
  ages.ariaLabel = "Older than";
  for (const [text, seconds] of [["1 day", 86400], ["7 days", 604800], ["30 days", 2592000], ["0 days: all of them", 0]]) make("option", "", ages, text).value = seconds;
  ages.value = "604800";
  ages.onchange = look;
  const old = make("div", "", clean);
  old.setAttribute("role", "status");
  let looking = false;
  function tidy() { clean.hidden = true; sweep.ariaExpanded = "false"; (sweep.hidden ? own.get(p.chosen())?.radio || root : sweep).focus(); }
  function look() { looking = true; old.replaceChildren("Asking the bucket…"); send("old", "", +ages.value); }
  function found(m) {
    looking = false;
    old.replaceChildren(m.text);
    const list = make("ul", "", old);
    for (const line of m.lines || []) make("li", "", list, line);
    if (m.more) make("li", "", list, "and " + m.more + " more");
    const bar = make("div", "ossmp-tools", old);
    if (m.count) button("Yes, abort " + (m.count > 1 ? "all " + m.count : "it"), "ossmp-abort", bar, () => { tidy(); send("abortold", m.plan); });
    button(m.count ? "Keep" : "Close", "", bar, tidy);
  }
  clean.onkeydown = (e) => { if (e.key === "Escape") tidy(); };

  // -- files of this computer: the box of %oss_pick, fetched when it is wanted
  const place = make("div", "");
  tools.before(place);
  let opening = null, close = null, dropped = null;
  const box = () => place.querySelector(".ossmp-files") || el.closest(".ossmp-panel")?.querySelector(".ossmp-files");
  const picks = only || el.closest(".ossmp-panel") ? null : button("Upload files…", "", tools, () => (close ? shut() : open()));
  if (picks) tools.prepend(picks);
  function open() { opening = true; send("box"); }
  function shut() { close(); close = null; remember({ box: null }); picks.ariaExpanded = "false"; picks.focus(); }
  async function unpack(m) {
    opening = false;
    const model = await hub.widget_manager.get_model(m.model);
    let drawn;
    for (let i = 0; i < 200 && !(drawn = globalThis.ossmpFiles?.[model.get("key")]?.draw); i++) await new Promise((go) => setTimeout(go, 50));
    if (!drawn) return say("The box for files could not be loaded.", true);
    close ||= drawn({ get: (name) => m[name] }, place);
    picks.ariaExpanded = "true";
    remember({ box: m });
    if (m !== before.box) place.querySelector("button").focus();
    if (dropped) box().ossmpOffer(...dropped);
    dropped = null;
  }
  const files = (e) => !only && [...e.dataTransfer.types].includes("Files");
  const over = (on) => root.classList.toggle("ossmp-over", on);
  root.addEventListener("dragover", (e) => { if (files(e)) { e.preventDefault(); over(true); } });
  root.addEventListener("dragleave", (e) => { if (!root.contains(e.relatedTarget)) over(false); });
  root.addEventListener("drop", (e) => {
    over(false);
    if (!files(e)) return;
    e.preventDefault();
    e.stopPropagation();
    dropped = [[...e.dataTransfer.files], [...e.dataTransfer.items].some((item) => item.webkitGetAsEntry?.()?.isDirectory)];
    if (!box()) return open();
    box().ossmpOffer(...dropped);
    dropped = null;
  });
  // -- which file an upload was made of that this machine knows nothing about
  const which = make("form", "ossmp-tools ossmp-ask");
  tools.after(which);
  which.hidden = true;
  const label = make("label", "", which), words = make("span", "", label), path = make("input", "", label);
  path.type = "text";
  path.required = true;
  path.spellcheck = false;
  path.placeholder = "path where the kernel runs";
  button("Resume with this file", "", which).type = "submit";
  const leave = () => { const inside = which.contains(document.activeElement); which.hidden = true; remember({ wonders: null }); if (inside) buttons[3][0].focus(); };
  button("Cancel", "", which, leave);
  which.onkeydown = (e) => {
    if (e.key === "Escape") { e.preventDefault(); leave(); }
    else if (e.key === "Enter" && e.target === path) { e.preventDefault(); which.requestSubmit(); } // JupyterLab keeps forms from it
  };
  which.onsubmit = (e) => {
    e.preventDefault();
    hub.send({ t: "do", do: "resume", id: which.dataset.id, file: path.value });
    leave();
  };
  function wonder(m) {
    which.dataset.id = m.id;
    remember({ wonders: m });
    put(words, "Its file: ");
    path.value = m.guess;
    which.hidden = false;
    say("The file is compared with the parts that OSS holds; one that does not fit is refused.");
    path.focus();
  }

  // -- details
  const parts = make("div", "ossmp-partsbox");
  status.before(parts);
  parts.hidden = true;
  function hide() {
    const inside = parts.contains(document.activeElement);
    parts.hidden = true;
    listing = null;
    remember({ listing });
    if (inside) (buttons[1][0].disabled ? own.get(p.chosen())?.radio || root : buttons[1][0]).focus();
  }
  async function show(m) {
    listing = m;
    remember({ listing });
    details ||= load(m.script);
    (await details).show(parts, m, { make, button, send, hide });
  }

  function message(m) {
    if (m.t === "box" && opening) unpack(m);
    else if (m.t === "old" && looking && m.age === +ages.value) found(m); // else an earlier question, or another page's
    else if (m.t === "ask" && m.id === p.chosen()) wonder(m);
    else if (m.t === "parts" && (m.id === p.chosen() || listing?.id === m.id)) { say(m.text); show(m); }
    else if (m.t === "map" && m.receipt && listing?.id === m.id && !listing.receipt) show({ ...listing, ...m });
    else if ((m.t === "map" || m.t === "link") && details) details.then((script) => script[m.t](parts, m));
  }
  function chosen(can) {
    if (!which.hidden && which.dataset.id !== p.chosen()) leave();
    if (asked && (asked !== p.chosen() || !can.includes("A"))) {
      const inside = ask.contains(document.activeElement);
      confirm(null);
      if (inside) (own.get(p.chosen())?.radio || root).focus();
    }
    const row = listing && own.get(listing.id);
    if (listing && !row?.data.can) hide(); // aborted, or gone: OSS has no parts of it
  }
  function press(verb, id) {
    if (verb === "abort") confirm(id);
    else if (verb === "parts") say("Asking for the parts…");
    return verb === "abort";
  }
  if (before.wonders) wonder(before.wonders);
  if (before.listing) show(before.listing);
  if (before.box) unpack(before.box);

  // -- the width that there is (container queries cost 2 ms a tick)
  const width = new ResizeObserver(([{ contentRect }]) => {
    root.classList.toggle("ossmp-slim", contentRect.width <= 800);
    root.classList.toggle("ossmp-narrow", contentRect.width <= 660);
  });
  width.observe(root);

  // -- keys: the notebook's own commands are single keys, and it would take them; Ctrl-S and the like stay its own
  const whole = el.closest(".ossmp-panel") || root;
  const take = (e) => {
    if (whole.contains(e.target)) e.target.toggleAttribute("data-lm-suppress-shortcuts", !(e.ctrlKey || e.metaKey || e.altKey));
  };
  addEventListener("keydown", take, true);

  // -- when the kernel is gone, or the line to it
  const kernel = hub.widget_manager?.kernel, moving = () => [...own.values()].filter(({ data }) => /P/.test(data.can));
  const again = () => { if (lost() === "cut" && kernel.connectionStatus === "disconnected" && !document.hidden) kernel.reconnect().catch(() => {}); };
  const strand = () => {
    const over = lost() === "over";
    root.classList.toggle("ossmp-ended", over);
    for (const b of [...all.children, picks, sweep]) if (b) b.disabled = over || lost() === "cut";
    if (root.contains(document.activeElement) && document.activeElement.disabled) root.focus({ preventScroll: true });
    if (lost() === "cut" && kernel.connectionStatus === "disconnected" && !gone.querySelector("button")) {
      // the front end tries for a minute or two, and then never again
      gone.append(" This page has given up looking for it. ");
      button("Connect again", "", gone, () => { root.focus({ preventScroll: true }); again(); });
    }
    if (over) leaving ||= setTimeout(becomeTable, 3000); // first it is read aloud
  };
  let leaving = 0;
  // What is saved from now on is read without this kernel, where a widget would be an error message: a table.
  async function becomeTable() {
    const outputs = [];
    for (const { outputs: list } of hub.widget_manager.context?.model?.cells || []) {
      for (let i = 0; i < (list?.length || 0); i++) {
        const id = list.get(i).data?.[VIEW]?.model_id, model = id && await hub.widget_manager.get_model(id).catch(() => null);
        if (model?.get("hub") === hub.model_id && JSON.stringify(model.get("ids")) === JSON.stringify(only)) outputs.push([list, i, id]);
      }
    }
    const old = make("div"), rows = [...own.values()];
    const cells = rows.map(({ data: d }) => [d.name + " → " + d.address, (/P/.test(d.can) ? "was " : "") + d.words, d.size || "", d.parts || "", d.upload_id || ""]);
    const grid = make("table", "", old), head = make("tr", "", make("thead", "", grid)), body = make("tbody", "", grid);
    const titles = ["Upload", "State", "Size", "Parts", "Upload ID"];
    for (const title of titles) make("th", "", head, title);
    for (const line of cells) { const tr = make("tr", "", body); for (const text of line) make("td", "", tr, text); }
    const why = gone.hidden ? "" : gone.textContent; // what is finished needs no kernel
    if (why) make("p", "", old, why);
    const text = [...[titles, ...cells].map((line) => line.join("  ")), why].join("\n").trim();
    for (const [list, i, id] of outputs) {
      const now = list.get(i)?.toJSON();
      if (now?.data?.[VIEW]?.model_id === id) list.set(i, { ...now, data: { "text/plain": text, "text/html": old.innerHTML } });
    }
  }
  const stranded = new MutationObserver(strand);
  stranded.observe(gone, { attributes: true, childList: true });
  kernel?.connectionStatusChanged?.connect(strand);
  strand();
  addEventListener("online", again);
  document.addEventListener("visibilitychange", again);
  // The kernel goes easy when it has not heard of any page for a while.
  const alive = setInterval(() => {
    if (Date.now() - spoke < 9000 || lost() || !moving().length) return;
    spoke = Date.now();
    hub.send({ t: "here" });
  }, 10000);

  // -- a display that is drawn anew (its cell ended, its uploads came to rest) takes the focus over
  const controls = () => [...root.querySelectorAll("button, input, select")];
  root.addEventListener("focusin", (e) => remember({ held: e.target, place: controls().indexOf(e.target) }));
  root.addEventListener("focusout", (e) => setTimeout(() => {
    if (root.isConnected && !root.contains(document.activeElement)) remember({ held: null });
  }));
  const { held, place: at } = before;
  if (held && !held.isConnected) setTimeout(() => {
    if (!document.activeElement?.matches("input, textarea, select, [contenteditable]")) controls()[at]?.focus({ preventScroll: true });
  }, 100);
  function rest() {
    clearInterval(alive);
    clearTimeout(leaving);
    stranded.disconnect();
    kernel?.connectionStatusChanged?.disconnect(strand);
    removeEventListener("online", again);
    document.removeEventListener("visibilitychange", again);
  }
  return { press, sorted, chosen, message, end() { rest(); width.disconnect(); removeEventListener("keydown", take, true); close?.(); } };
}
