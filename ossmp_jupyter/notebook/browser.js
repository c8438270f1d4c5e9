// Files of the laptop, for the kernel: it asks for ranges, this page reads, checksums and answers. Text goes in by textContent only.
// CRC-64 as OSS computes it, eight bytes a step; the state is two 32-bit halves.
function checksummer() {
  const L = new Uint32Array(2048), H = new Uint32Array(2048);
  for (let i = 0; i < 256; i++) {
    let l = i, h = 0;
    for (let k = 0; k < 8; k++) { const odd = l & 1; l = (l >>> 1) | (h << 31); h >>>= 1; if (odd) { l ^= 0xd7870f42; h ^= 0xc96c5795; } }
    L[i] = l; H[i] = h;
  }
  for (let i = 256; i < 2048; i++) {
    const l = L[i - 256], h = H[i - 256], b = l & 255;
    L[i] = ((l >>> 8) | (h << 24)) ^ L[b]; H[i] = (h >>> 8) ^ H[b];
  }
  return async (blob, keep) => {
    let l = -1, h = -1, buffer;
    for (let at = 0; at < blob.size || !buffer; at += 4194304) {
      buffer = await blob.slice(at, at + 4194304).arrayBuffer();
      const n = buffer.byteLength >>> 3, w = new Uint32Array(buffer, 0, 2 * n);
      for (let i = 0; i < 2 * n; i += 2) {
        const a = l ^ w[i], b = h ^ w[i + 1];
        const p = 1792 + (a & 255), q = 1536 + (a >>> 8 & 255), r = 1280 + (a >>> 16 & 255), s = 1024 + (a >>> 24);
        const t = 768 + (b & 255), u = 512 + (b >>> 8 & 255), v = 256 + (b >>> 16 & 255), x = b >>> 24;
        l = L[p] ^ L[q] ^ L[r] ^ L[s] ^ L[t] ^ L[u] ^ L[v] ^ L[x];
        h = H[p] ^ H[q] ^ H[r] ^ H[s] ^ H[t] ^ H[u] ^ H[v] ^ H[x];
      }
      for (const byte of new Uint8Array(buffer, 8 * n)) { const k = (l ^ byte) & 255; l = ((l >>> 8) | (h << 24)) ^ L[k]; h = (h >>> 8) ^ H[k]; }
    }
    const hex = (x) => (~x >>> 0).toString(16).padStart(8, "0");
    return { crc: hex(h) + hex(l), buffer: keep ? buffer : null };
  };
}

// The checksum runs in a worker, so that the notebook stays fluid; where a page may have none, here.
function reader() {
  let worker, count = 0;
  const waiting = new Map(), here = checksummer();
  try {
    const code = `const sum = (${checksummer})(); onmessage = async ({ data: [id, blob, keep] }) => { try { const r = await sum(blob, keep); postMessage([id, r], r.buffer ? [r.buffer] : []); } catch (e) { postMessage([id, null, e.name]); } };`;
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    worker = new Worker(url);
    worker.onmessage = ({ data: [id, result, error] }) => { const [done, fail] = waiting.get(id); waiting.delete(id); result ? done(result) : fail(new Error(error)); };
    worker.onerror = () => { worker = null; for (const [done, fail, blob, keep] of waiting.values()) here(blob, keep).then(done, fail); waiting.clear(); };
  } catch (e) { worker = null; }
  return (blob, keep) => !worker ? here(blob, keep) : new Promise((done, fail) => {
    waiting.set(++count, [done, fail, blob, keep]);
    worker.postMessage([count, blob, keep]);
  });
}

function make(tag, cls, parent, text) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  if (parent) parent.appendChild(node);
  return node;
}

export function begin(model) {
  const all = globalThis.ossmpFiles ||= {}, key = model.get("key");
  // A second model of the same kernel object (the connection was lost) must not lose the files.
  const own = all[key] ||= { page: Math.random().toString(36).slice(2), files: new Map(), busy: new Map(), views: new Set(), read: reader(), state: {} };
  if (own.stop) own.stop();
  const send = (content, buffers) => model.send({ page: own.page, ...content }, undefined, buffers);

  async function answer(m) {
    const file = own.files.get(m.file);
    const control = new AbortController();
    own.busy.set(m.ticket, control);
    const found = { t: "answer", ticket: m.ticket };
    let buffers;
    try {
      if (!file) throw new Error("NotFoundError");
      const blob = file.slice(m.off, m.off + m.n);
      const reading = own.read(blob, m.do === "slice");
      if (m.do === "put") {
        reading.catch(() => {});
        try {
          const r = await fetch(m.url, { method: "PUT", body: blob, signal: control.signal });
          Object.assign(found, { status: r.status, etag: r.headers.get("ETag"), theirs: r.headers.get("x-oss-hash-crc64ecma"), request: r.headers.get("x-oss-request-id") });
          found.body = (await r.text()).slice(0, 4000);
        } catch (e) { found.net = String(e.message || e); }
      }
      const sum = await reading;
      found.crc = sum.crc;
      if (sum.buffer) buffers = [sum.buffer];
    } catch (e) { found.error = e.message || e.name; }
    if (control.signal.aborted) return;
    try { send(found, buffers); } catch (e) { /* no connection: the kernel will ask again */ }
    own.busy.delete(m.ticket);
  }
  function onmessage(m) {
    if (m.t === "state") { own.state = m; for (const view of own.views) view.state(m); }
    else if (m.t === "say") { for (const view of own.views) view.say(m.text, m.bad); }
    else if (m.t === "ping" && own.files.size) send({ t: "here", n: m.n, busy: [...own.busy.keys()] });
    else if (m.page !== own.page) return; // for another tab
    else if (m.t === "ask") answer(m);
    else if (m.t === "stop") for (const id of m.tickets) { own.busy.get(id)?.abort(); own.busy.delete(id); }
  }
  const leave = () => { if (own.files.size) try { send({ t: "gone" }); } catch (e) { /* gone anyway */ } };
  model.on("msg:custom", onmessage);
  addEventListener("pagehide", leave);
  own.stop = () => { model.off("msg:custom", onmessage); removeEventListener("pagehide", leave); };
  own.pick = (chosen, more) => {
    const files = chosen.map((file) => {
      const id = own.page + "-" + (own.files.size + 1);
      own.files.set(id, file);
      return { id, name: file.name, size: file.size, mtime: file.lastModified };
    });
    try { send({ t: "pick", files, ...more }); return ""; } catch (e) { return "The kernel cannot be reached: " + e; }
  };
  own.draw = (view, el) => draw(own, view, el);
  send({ t: "hello", origin: location.origin });
}

// What a person sees: a place to drop files, their destination, and the files that are missed.
function draw(own, view, el) {
  const root = make("div", "ossmp-files", el);
  make("style", "", root, CSS);
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Files from this computer");
  const line = make("div", "ossmp-tools", root);
  const input = make("input", "", line);
  input.type = "file";
  input.multiple = true;
  input.hidden = true;
  let again = null;
  const choose = (id) => { again = id || null; input.multiple = !id; input.value = ""; input.click(); };
  const button = (text, parent, onclick) => { const b = make("button", "ossmp-button", parent, text); b.type = "button"; b.onclick = onclick; return b; };
  button("Choose files…", line, () => choose());
  make("span", "ossmp-minor", line, "or drop them here");
  const to = make("label", "ossmp-to", line, "to ");
  const dest = make("input", "", to);
  dest.type = "text";
  dest.spellcheck = false;
  dest.placeholder = "oss://bucket/folder/";
  // a display may be drawn anew at any time
  const kept = (own.kept ||= {})[view.get("pick")] ||= { dest: view.get("dest"), direct: view.get("direct") };
  dest.value = kept.dest;
  dest.oninput = () => { kept.dest = dest.value; };
  const how = make("label", "ossmp-minor", line);
  how.title = "The browser sends the parts to OSS by itself, with links that are good for one part each. The bucket needs a CORS rule; the keys stay in the kernel.";
  const direct = make("input", "", how);
  direct.type = "checkbox";
  direct.checked = kept.direct;
  direct.onchange = () => { kept.direct = direct.checked; };
  how.append(" straight to OSS");
  const offered = make("div", "ossmp-tools", root);
  const missing = make("div", "ossmp-missing", root);
  const status = make("div", "ossmp-status", root);
  status.setAttribute("role", "status");

  function say(text, bad) { kept.said = [text, bad]; status.textContent = text; status.classList.toggle("ossmp-bad", !!bad); }
  function take(files) {
    if (!files.length) return;
    const wrong = own.pick(files, { dest: dest.value.trim(), direct: direct.checked, again, pick: view.get("pick") });
    again = null;
    say(wrong || "Asking the kernel…", !!wrong);
  }
  function state(m) {
    missing.replaceChildren();
    for (const one of m.missing || []) {
      const row = make("div", "ossmp-tools", missing);
      make("span", "ossmp-words", row, one.name + " → " + one.address + " waits for the file");
      button("Choose again…", row, () => choose(one.id)).setAttribute("aria-label", "Choose " + one.name + " again");
    }
  }
  input.onchange = () => take([...input.files]);
  let depth = 0;
  const over = (on) => root.classList.toggle("ossmp-over", on);
  root.ondragenter = (e) => { e.preventDefault(); depth++; over(true); };
  root.ondragleave = () => { if (--depth <= 0) { depth = 0; over(false); } };
  root.ondragover = (e) => { e.preventDefault(); e.stopPropagation(); e.dataTransfer.dropEffect = "copy"; };
  root.ondrop = (e) => {
    e.preventDefault();
    e.stopPropagation();
    depth = 0;
    over(false);
    again = null;
    const items = [...e.dataTransfer.items].filter((item) => item.kind === "file");
    if (!refused(items.some((item) => item.webkitGetAsEntry?.()?.isDirectory))) take([...e.dataTransfer.files]);
  };
  function refused(folder) {
    if (folder) say("A folder cannot be uploaded: drop the files in it, or pack them into one archive.", true);
    return folder;
  }
  // Dropped beside the box: whoever did so may not have seen where they go.
  root.ossmpOffer = (files, folder) => {
    again = null;
    if (refused(folder)) return;
    offered.replaceChildren();
    make("span", "", offered, files.length === 1 ? files[0].name : files.length + " files");
    const done = (go) => { offered.replaceChildren(); if (go) take(files); root.querySelector("button").focus(); };
    button("Upload", offered, () => done(true)).focus();
    button("Cancel", offered, () => done(false));
  };
  const me = { state, say };
  own.views.add(me);
  if (kept.said) say(...kept.said);
  state(own.state);
  return () => { own.views.delete(me); root.remove(); };
}
