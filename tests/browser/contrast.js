// What a page really shows. faint: WCAG's contrast of texts and graphics against their ground, as [what, ratio, least];
// sticking: what reaches beyond the panel.
({
faint: (root) => {
const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
function rgba(color) { // any CSS color, as the browser itself reads it
  pen.clearRect(0, 0, 1, 1);
  pen.fillStyle = "rgba(0, 0, 0, 0)";
  pen.fillStyle = color;
  pen.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}
const over = ([r, g, b, a], under) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a));
function ground(el) {
  const path = [];
  for (; el; el = el.parentElement) path.unshift(rgba(getComputedStyle(el).backgroundColor));
  return path.reduce((under, layer) => over(layer, under), [255, 255, 255]);
}
function opacity(el) { let all = 1; for (; el; el = el.parentElement) all *= +getComputedStyle(el).opacity; return all; }
const light = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
function ratio(color, el, faded = 1) {
  const under = ground(el), [r, g, b, a] = rgba(color), [x, y] = [luminance(over([r, g, b, a * faded], under)), luminance(under)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}
const found = [], seen = (el) => el.getClientRects().length > 0;
const check = (what, least, value) => { found.push([what, Math.round(value * 100) / 100, least]); };
const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
for (let node; (node = walker.nextNode());) {
  const el = node.parentElement, text = node.textContent.trim();
  if (!text || el.tagName === "STYLE" || !seen(el) || el.closest(":disabled")) continue;
  check("text " + text.slice(0, 40), 4.5, ratio(getComputedStyle(el).color, el, opacity(el)));
}
for (const el of root.querySelectorAll("input[placeholder]")) {
  const style = getComputedStyle(el, "::placeholder");
  if (!el.value && seen(el)) check("placeholder " + el.placeholder, 4.5, ratio(style.color, el, +style.opacity));
}
for (const el of root.querySelectorAll("input, select")) {
  if (!seen(el) || el.type === "radio" || el.type === "checkbox") continue; // those are the browser's own
  check("border of " + (el.ariaLabel || el.tagName), 3, ratio(getComputedStyle(el).borderTopColor, el.parentElement));
}
for (const el of root.querySelectorAll(".ossmp-bar")) {
  if (!seen(el)) continue;
  check("border of the bar", 3, ratio(getComputedStyle(el).borderTopColor, el.parentElement));
  check("fill of the bar", 3, ratio(getComputedStyle(el.firstElementChild).backgroundColor, el));
}
for (const el of root.querySelectorAll(".ossmp-legend i")) if (seen(el)) check("part " + el.dataset.partState, 3, ratio(getComputedStyle(el).backgroundColor, el.parentElement));
for (const el of root.querySelectorAll(".ossmp-pace polyline")) if (seen(el)) check("speed", 3, ratio(getComputedStyle(el).stroke, el.closest("div")));
const held = document.activeElement;
for (const el of root.querySelectorAll("button:enabled, input, select")) {
  if (!seen(el)) continue;
  el.focus({ focusVisible: true, preventScroll: true });
  const style = getComputedStyle(el);
  if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 1) check("no focus ring of " + (el.textContent || el.type), 3, 0);
  else if (style.outlineStyle !== "auto") check("focus ring of " + (el.textContent || el.type), 3, ratio(style.outlineColor, el.parentElement));
}
held?.focus({ preventScroll: true });
return found;
},
sticking: (root) => {
const out = [], page = root.getBoundingClientRect();
for (const el of root.querySelectorAll("*")) {
  const box = el.getBoundingClientRect(), style = getComputedStyle(el);
  if (!box.width || !box.height || style.position === "absolute" || el.closest("svg, .ossmp-uploads thead")) continue;
  const inside = el.closest(".ossmp-parts"); // may be scrolled
  if (!inside && (box.right > page.right + 1 || box.left < page.left - 1)) out.push(el.className + ": " + el.textContent.slice(0, 40));
}
for (const el of root.querySelectorAll(".ossmp-scroll"))
  if (el.querySelector(".ossmp-uploads") && el.scrollWidth > el.clientWidth + 1) out.push("the uploads have to be scrolled sideways");
return out;
},
// overlapping: texts and controls that cover each other, or that are cut off where nothing (no dots, no title) says so
overlapping: (root) => {
const out = [], boxes = [], whole = (el) => (el.textContent || el.ariaLabel || el.placeholder || el.type || "").trim().slice(0, 30);
for (const el of root.querySelectorAll("*")) {
  const style = getComputedStyle(el), leaf = el.matches("button, input, select, canvas, [role=progressbar]") || [...el.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!leaf || el.tagName === "STYLE" || el.closest("svg, select select, .ossmp-uploads thead") || el.tagName === "OPTION") continue;
  const range = document.createRange();
  range.selectNodeContents(el);
  const { left, right, top, bottom } = (el.matches("button, input, select, canvas, [role=progressbar]") ? el : range).getBoundingClientRect();
  const box = { left, right, top, bottom };
  for (let frame = el.parentElement; frame && frame !== root; frame = frame.parentElement) {
    if (getComputedStyle(frame).overflowY === "visible") continue; // what is scrolled away covers nothing
    const seen = frame.getBoundingClientRect();
    box.top = Math.max(box.top, seen.top);
    box.bottom = Math.min(box.bottom, seen.bottom);
  }
  if (right - left < 1 || box.bottom - box.top < 1 || style.visibility === "hidden") continue;
  if (el.scrollWidth > el.clientWidth + 1 && style.overflowX === "hidden" && !(style.textOverflow === "ellipsis" && el.title)) out.push("cut off: " + whole(el));
  for (const [other, held] of boxes) {
    if (el.contains(other) || other.contains(el)) continue;
    const wide = Math.min(box.right, held.right) - Math.max(box.left, held.left), high = Math.min(box.bottom, held.bottom) - Math.max(box.top, held.top);
    if (wide > 1 && high > 1) out.push(whole(el) + " covers " + whole(other));
  }
  boxes.push([el, box]);
}
return [out, boxes.length];
},
})
