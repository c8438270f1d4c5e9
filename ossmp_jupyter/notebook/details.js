// The details of one upload: map of its parts, speed, facts, list of parts. Comes from the kernel when asked for.
const NAMES = { d: "done", k: "kept from before", r: "sent again", f: "under way", ".": "to do" };
const EVERY = 1000; // ms

function here(text) { // plain http has no clipboard object
  const area = document.createElement("textarea"), held = document.activeElement;
  area.value = text;
  document.body.appendChild(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  held?.focus({ preventScroll: true });
  if (!done) throw new Error("the browser did not let it be copied: click once more");
}
// Begun in the click itself, as some browsers want it, whenever the text comes.
async function copy(text) {
  text = Promise.resolve(text);
  if (isSecureContext && window.ClipboardItem && navigator.clipboard?.write)
    try {
      return await navigator.clipboard.write([new ClipboardItem({ "text/plain": text.then((t) => new Blob([t], { type: "text/plain" })) })]);
    } catch (e) { /* not allowed, or no text came */ }
  here(await text);
}
const LASTS = [["1 hour", 3600], ["1 day", 86400], ["7 days", 604800]];
// A link goes from the kernel to the clipboard and stays nowhere else: it is as good as a key.
function offerLink(box, bar, m, { make, button, send }) {
  const line = make("span", "ossmp-tools", bar), said = make("span", "ossmp-minor", bar);
  said.setAttribute("role", "status");
  const get = button("Copy link", "", line, () => {
    said.textContent = "Asking for a link…";
    const link = new Promise((come, fail) => { box.ossmp.link = (answer) => (answer.url ? come(answer) : fail(new Error(answer.error))); });
    copy(link.then((answer) => answer.url)).then(() => link).then((answer) => { said.textContent = "Copied: " + answer.words; })
      .catch((e) => { said.textContent = "No link: " + e.message; });
    send("link", m.id, +lasts.value);
  });
  get.title = "A link that downloads the object without keys: as good as a key while it works.";
  make("span", "", line, "for");
  const lasts = make("select", "", line);
  lasts.ariaLabel = "The link works for";
  for (const [text, seconds] of LASTS) make("option", "", lasts, text).value = seconds;
}

// "k3.2" -> [["k", 3], [".", 2]]
function runs(text) { return [...text.matchAll(/([dkrf.])(\d+)/g)].map(([, letter, count]) => [letter, +count]); }

function paint(canvas, pieces) {
  const total = pieces.reduce((sum, [, count]) => sum + count, 0);
  const width = canvas.clientWidth || 600, scale = window.devicePixelRatio || 1;
  const side = Math.max(2, Math.min(12, Math.floor(Math.sqrt((width * 60) / Math.max(total, 1)))));
  const columns = Math.max(1, Math.floor(width / side)), rows = Math.ceil(total / columns);
  canvas.style.height = rows * side + "px";
  canvas.width = width * scale;
  canvas.height = rows * side * scale;
  const pen = canvas.getContext("2d"), gap = side > 4 ? 1 : 0;
  pen.scale(scale, scale);
  let at = 0;
  for (const [letter, count] of pieces) {
    pen.fillStyle = getComputedStyle(canvas.parentNode.querySelector("[data-part-state='" + letter + "']")).backgroundColor;
    for (let end = at + count; at < end; at++) pen.fillRect((at % columns) * side, Math.floor(at / columns) * side, side - gap, side - gap);
  }
}

function chart(svg, speeds) {
  const most = Math.max(...speeds, 1), step = 240 / Math.max(speeds.length - 1, 1);
  svg.firstChild.setAttribute("points", speeds.map((speed, i) => (i * step).toFixed(1) + "," + (34 - (32 * speed) / most).toFixed(1)).join(" "));
}

export function show(box, m, panel) {
  const { make, button, send, hide } = panel;
  const open = box.dataset.upload === m.id && !box.hidden ? box.ossmp : null;
  clearInterval(box.timer);
  box.replaceChildren();
  box.hidden = false;
  box.dataset.upload = m.id;
  make("style", "", box, CSS);
  const bar = make("div", "ossmp-tools", box);
  make("strong", "", bar, m.receipt ? m.name : "Parts of " + m.name + (m.total ? ": " + m.total : ": none yet"));
  if (m.pages > 1) {
    button("Previous", "", bar, () => send("page", m.id, m.page - 1)).disabled = m.page === 0;
    make("span", "", bar, "page " + (m.page + 1) + " of " + m.pages);
    button("Next", "", bar, () => send("page", m.id, m.page + 1)).disabled = m.page + 1 >= m.pages;
  }
  const address = button("Copy address", "", bar, () => copy(m.address).then(() => { address.textContent = "Copied"; }, (e) => { address.textContent = e.message; }));
  box.ossmp = {};
  if (m.receipt) offerLink(box, bar, m, panel);
  button("Close", "", bar, hide);
  if (m.receipt) return void make("div", "ossmp-receipt", box, m.receipt);
  const live = make("div", "ossmp-live", box);
  live.hidden = true;
  const canvas = make("canvas", "ossmp-map", live);
  canvas.setAttribute("role", "img");
  const legend = make("div", "ossmp-legend", live), counts = {};
  for (const letter in NAMES) {
    const item = make("span", "", legend);
    make("i", "", item).dataset.partState = letter;
    counts[letter] = make("span", "", item);
  }
  const pace = make("div", "ossmp-pace", live);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 240 36");
  svg.setAttribute("role", "img");
  svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "polyline"));
  pace.appendChild(svg);
  const facts = make("span", "ossmp-minor", pace);
  box.ossmp = { speeds: open ? open.speeds : [], live, canvas, counts, svg, facts };
  const ask = () => (box.hidden || !box.isConnected ? clearInterval(box.timer) : document.hidden || send("map", m.id));
  box.timer = setInterval(ask, EVERY);
  ask();
  if (!m.parts.length) return;
  const list = make("table", "ossmp-parts", make("div", "ossmp-scroll", box));
  list.setAttribute("aria-label", "Parts");
  const top = make("tr", "", make("thead", "", list));
  for (const [title, cls] of [["Part", "ossmp-number"], ["Size", "ossmp-number"], ["ETag"], ["CRC-64", "ossmp-number"]]) make("th", cls, top, title).scope = "col";
  const rows = make("tbody", "", list);
  for (const [number, size, etag, crc] of m.parts) {
    const tr = make("tr", "", rows);
    tr.dataset.part = number;
    make("td", "ossmp-number", tr, String(number));
    make("td", "ossmp-number", tr, size);
    make("code", "", make("td", "", tr), etag);
    make("code", "", make("td", "ossmp-number", tr), crc);
  }
}

export function map(box, m) {
  if (box.hidden || box.dataset.upload !== m.id || !box.ossmp.live) return;
  const { speeds, live, canvas, counts, svg, facts } = box.ossmp, pieces = runs(m.map), sums = {};
  for (const [letter, count] of pieces) sums[letter] = (sums[letter] || 0) + count;
  live.hidden = false;
  const said = [];
  for (const letter in NAMES) {
    counts[letter].parentNode.hidden = !sums[letter];
    counts[letter].textContent = (sums[letter] || 0) + " " + NAMES[letter];
    if (sums[letter]) said.push(counts[letter].textContent);
  }
  canvas.setAttribute("aria-label", "Parts: " + said.join(", "));
  paint(canvas, pieces);
  speeds.push(m.speed);
  if (speeds.length > 120) speeds.shift();
  chart(svg, speeds);
  svg.setAttribute("aria-label", "Speed over the last minutes, now " + m.pace);
  facts.textContent = m.pace + " now, " + m.facts;
}

export function link(box, m) {
  if (box.dataset.upload !== m.id || !box.ossmp.link) return; // another page asked
  box.ossmp.link(m);
  box.ossmp.link = null;
}
