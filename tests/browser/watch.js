// Runs in the page before everything else: notes when the page could know something, and when it showed it.
// watched: [ms, kind, what] with the kinds open, hello, rows (frames of the kernel's WebSocket), status, connection
// (what the front end says of the kernel), and panels: what all panels show now, as [[alert, [[name, state, percent]]]].
(() => {
const log = (globalThis.watched = []), text = new TextDecoder();
const note = (kind, what) => log.push([performance.timeOrigin + performance.now(), kind, what]);
const frame = (data) => (typeof data === "string" ? data : text.decode(data));
globalThis.WebSocket = class extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols);
    if (!String(url).includes("/channels")) return;
    this.addEventListener("open", () => note("open"));
    this.addEventListener("message", async ({ data }) => {
      const at = log.length, now = performance.timeOrigin + performance.now();
      const said = frame(data instanceof Blob ? await data.arrayBuffer() : data);
      if (/"t": ?"rows"/.test(said)) log.splice(at, 0, [now, "rows", /"order"/.test(said)]);
    });
  }
  send(data) {
    super.send(data);
    if (/"t": ?"hello"/.test(frame(data))) note("hello");
  }
};
let last = "[]";
function look() {
  const panels = [...document.querySelectorAll(".ossmp-panel")].filter((el) => el.querySelector(".ossmp-uploads")).map((el) => [
    el.querySelector(".ossmp-gone:not([hidden])")?.textContent || "",
    [...el.querySelectorAll("tr[data-id]")].map((row) => [
      row.querySelector(".ossmp-name div").textContent,
      row.dataset.state,
      +(row.querySelector("[role=progressbar]").getAttribute("aria-valuenow") || 0),
    ]),
  ]);
  const now = JSON.stringify(panels);
  if (now !== last) note("panels", panels);
  last = now;
}
new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true,
  attributeFilter: ["data-state", "aria-valuenow", "hidden"] });
let kernel;
setInterval(() => {
  const now = globalThis.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel;
  if (!now || now === kernel) return;
  kernel = now;
  kernel.statusChanged.connect((_, status) => note("status", status));
  kernel.connectionStatusChanged.connect((_, status) => note("connection", status));
}, 20);
})();
