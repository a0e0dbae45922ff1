"use strict";
/* What all pages share. Data reach a page as text nodes and attributes only, never as markup. */
const page = (() => {
  const $ = (id) => document.getElementById(id);

  /* ---- elements ---- */

  const SVG = "http://www.w3.org/2000/svg";
  const fill = (node, attributes, children) => {
    for (const [key, value] of Object.entries(attributes || {}))
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (key === "colour") node.style.setProperty(node.namespaceURI === SVG ? value[0] : "background", value[1]);
      else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value);
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  };
  const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const cut = (text, length) => { const c = [...text]; return c.length > length ? c.slice(0, length - 1).join("") + "…" : text; };

  /* ---- numbers ---- */

  const digits = (value, count) => {
    const size = Math.abs(value);
    if (size >= 1e7 || (size > 0 && size < 1e-4)) return value.toExponential(count - 1);
    const before = size > 0 ? Math.floor(Math.log10(Number(size.toPrecision(count)))) + 1 : 1;
    return value.toFixed(Math.max(0, count - before));
  };
  const plain = (v) => { const n = Number(v.toPrecision(3)); return Math.abs(n) >= 1e6 ? n.toExponential() : String(n); };
  const percent = (x) => (100 * x).toFixed(2);

  /* ---- axes, a direction: { low, high, log, spell, down: low is above, whole: ticks too, dense: more of them } ---- */

  const spread = (values, log) => (log ? { low: Math.min(...values) / 1.15, high: Math.max(...values) * 1.15, log } : { low: Math.min(...values), high: Math.max(...values), log });
  /* Powers of ten (and 2, 5 where there are few), or steps of such sizes, within [low, high]. */
  const ticks = ({ low, high, log, whole, dense }) => {
    const list = [];
    if (log && high / low > 4) {
      const few = Math.log10(high / low) < (dense ? 3 : 2);
      for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
        for (const m of few ? [1, 2, 5] : [1]) { const t = m * 10 ** e; if (t >= low * 0.999 && t <= high * 1.001) list.push(t); }
      const step = Math.ceil(list.length / 7);
      return list.filter((_, i) => i % step === 0);
    }
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].find((m) => m * power >= rough) * power;
    const size = whole ? Math.max(1, Math.round(step)) : step;
    for (let i = Math.ceil(low / size - 1e-9); i * size <= high + size * 1e-9; i++) list.push(i * size);
    return list;
  };
  /* box: width, height, margins left, right, top, bottom. Returns the svg and where values lie. */
  const axes = (box, across, up, title, label) => {
    const [W, H, L, R, T, B] = box;
    const place = ({ low, high, log }) => (log ? (v) => Math.log(v / low) / Math.log(high / low) : (v) => (v - low) / (high - low));
    const px = place(across), py = place(up), x = (v) => L + (W - L - R) * px(v), y = (v) => H - B - (H - T - B) * (up.down ? 1 - py(v) : py(v));
    const svg = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label });
    for (const t of ticks(across)) svg.append(s("line", { class: "axis", x1: x(t), x2: x(t), y1: T, y2: H - B }), s("text", { class: "quiet", x: x(t), y: H - B + 14, "text-anchor": "middle" }, across.spell(t)));
    for (const t of ticks(up)) svg.append(s("line", { class: "axis", x1: L, x2: W - R, y1: y(t), y2: y(t) }), s("text", { class: "quiet", x: L - 6, y: y(t) + 4, "text-anchor": "end" }, up.spell(t)));
    svg.append(s("text", { class: "quiet", x: W - R, y: H - 4, "text-anchor": "end" }, title));
    return { svg, x, y, x0: across.low, x1: across.high, y0: up.low, y1: up.high };
  };

  /* ---- light and dark: the button #theme ---- */

  const THEMES = ["auto", "light", "dark"];
  const setTheme = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    $("theme").textContent = `Theme: ${theme}`;
  };
  let theme = "auto";
  try { theme = THEMES.find((t) => t === localStorage.getItem("duet-theme")) || "auto"; } catch { /* a browser that keeps nothing for files */ }
  setTheme(theme);
  $("theme").addEventListener("click", () => {
    setTheme((theme = THEMES[(THEMES.indexOf(theme) + 1) % 3]));
    try { localStorage.setItem("duet-theme", theme); } catch { /* as above */ }
  });

  const ready = () => { document.documentElement.dataset.ready = "yes"; };
  return { $, h, s, cut, digits, plain, percent, spread, axes, ready, data: JSON.parse($("data").textContent) };
})();
