/* Texts of the files reach the page as text nodes and attributes only, never as markup. */
(() => {
  const { $, h, s, cut, digits, plain, percent, spread, axes, data } = page;
  const { columns, lines, groups } = data;
  const BARS = 16; /* of a chart, at most */
  const COLUMNS = 100; /* shown at first, at most */
  const WORDS = ["ok", "unsupported", "skipped", "error"];
  const [BETTER, WORSE, SAME, UNSURE] = [1, 2, 3, 4];

  for (const line of lines) line.by = new Map(line.cells.map((cell) => [cell.c, cell]));

  /* ---- colours ---- */

  const colour = (column) => `var(--s${column % 8})`;
  const swatch = (column) => h("span", { class: "swatch", colour: ["", colour(column)] });

  /* ---- numbers, as the program spells them (bench/compare/spell.c) ---- */

  const PREFIXES = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];
  const SCALED = new Set(["FLOP/s", "B/s", "s", "B", "FLOP", "J", "W", "Hz"]);
  const scaleOf = (value, unit) => {
    if (unit === "fraction") return { factor: 0.01, unit: "%" };
    if (!SCALED.has(unit) || !value) return { factor: 1, unit };
    let [factor, prefix] = PREFIXES.find(([least]) => Math.abs(value) >= least) || PREFIXES[PREFIXES.length - 1];
    if (unit === "s" && factor > 1) [factor, prefix] = [1, ""];
    return { factor, unit: prefix + unit };
  };
  const spell = (value, scale) => digits(value / scale.factor, 4);
  const withUnit = (value, unit) => { const scale = scaleOf(value, unit); return `${spell(value, scale)} ${scale.unit}`; };
  const lineScale = (line) => { const cell = line.cells.find((c) => c.s === 0); return scaleOf(cell ? cell.m : 0, line.unit); };
  const ratio = (r) => digits(r, 3);
  const mark = (cell) => (cell.v === SAME ? " =" : cell.v === UNSURE ? " ?" : "");
  const tone = (cell) => (cell.v === BETTER ? "better" : cell.v === WORSE ? "worse" : null);
  const nameOf = (line) => line.name + (line.parameters ? " " + line.parameters : "");

  /* ---- what is shown ---- */

  const chosen = columns.map((_, i) => i < COLUMNS); /* by the boxes of the summary */
  const words = (input) => input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const holds = (text, wanted) => wanted.every((word) => text.includes(word));
  for (const line of lines) line.text = `${groups[line.g][0]} ${nameOf(line)} ${line.unit}`.toLowerCase();
  for (const c of columns)
    c.text = [c.key, c.label, c.device, c.backend, c.program, c.version, c.platform, c.driver, c.cpu, c.os, c.type, c.file].join(" ").toLowerCase();
  const shownColumns = () => { const wanted = words($("device")); return columns.map((_, i) => i).filter((i) => chosen[i] && holds(columns[i].text, wanted)); };
  const shownLines = () => {
    const wanted = words($("find")), group = $("group").value;
    return lines.filter((line) => (group === "" || line.g === Number(group)) && holds(line.text, wanted));
  };

  /* ---- tables that sort ---- */

  const sorts = { summary: { by: null, down: false }, numbers: { by: null, down: false } };
  /* Header of a column: a button, so Enter and Space sort. Third press: the order of the files. */
  const head = (table, by, content, number, more) => {
    const sort = sorts[table];
    const state = sort.by === by ? (sort.down ? "descending" : "ascending") : "none";
    const press = () => {
      const down = number; /* of numbers, the largest first */
      if (sort.by !== by) Object.assign(sort, { by, down });
      else if (sort.down === down) sort.down = !down;
      else sort.by = null;
      (table === "summary" ? drawSummary : drawNumbers)();
      const again = document.querySelector(`#${table} th[data-by="${by}"] button`);
      if (again) again.focus();
    };
    return h("th", { scope: "col", "aria-sort": state, class: number ? "number" : null, "data-by": by, ...more }, h("button", { type: "button", onclick: press }, ...content));
  };
  const sorted = (list, table, valueOf) => {
    const { by, down } = sorts[table];
    if (by === null) return list;
    const empty = (v) => v === undefined || v === null || Number.isNaN(v);
    return list.map((item) => [valueOf(item, by), item]).sort(([a], [b]) => {
      if (empty(a) || empty(b)) return Number(empty(a)) - Number(empty(b)); /* without a number: last, either way */
      const order = typeof a === "string" ? a.localeCompare(b) : a - b;
      return down ? -order : order;
    }).map(([, item]) => item);
  };

  /* ---- devices ---- */

  const meanGroups = groups.map((_, g) => g).filter((g) => columns.some((c) => c.means[g][1]));
  const summaryValue = (i, by) => {
    const c = columns[i];
    if (by === "device") return c.label;
    if (by === "program") return `${c.program} ${c.version}`;
    if (by === "date" || by === "backend" || by === "cpu") return c[by] || "";
    if (by === "ok") return c.states[0];
    return c.means[Number(by.slice(1))][0];
  };
  const meanCell = (c, i, g) => {
    const [mean, n] = c.means[g];
    if (!n) return h("td", { class: "number missing" }, c.base === i ? "base" : "-");
    return h("td", { class: "number" }, ratio(mean), h("span", { class: "small" }, `n ${n}`));
  };
  const summaryRow = (i) => {
    const c = columns[i], bad = c.states.slice(1).map((n, k) => [n, [...WORDS.slice(1), "missing"][k]]).filter(([n]) => n);
    const box = h("input", { type: "checkbox", "aria-label": `Show ${c.label}`, onchange: () => { chosen[i] = box.checked; drawAll(); } });
    box.checked = chosen[i];
    const note = [c.platform, c.driver, c.options, c.commit && `commit ${c.commit.slice(0, 12)}`].filter(Boolean).join(", ");
    return h("tr", { class: chosen[i] ? null : "off" },
      h("td", null, box),
      h("th", { scope: "row", class: "device" }, swatch(i), h("b", null, c.key), ` ${c.label}`,
        h("span", { class: "small" }, note), c.note ? h("span", { class: "small" }, c.note) : null),
      h("td", { class: c.version.length < 12 ? "fixed" : null }, `${c.program} ${c.version}`, h("span", { class: "small" }, c.compiler || "")),
      h("td", null, c.backend, h("span", { class: "small" }, c.type)),
      h("td", { class: "machine" }, c.cpu || "-", h("span", { class: "small" }, [c.cores && `${c.cores} cores`, c.memory && `${Math.round(c.memory / 2 ** 30)} GiB`, c.os].filter(Boolean).join(", "))),
      h("td", { class: "fixed" }, c.date.slice(0, 10), h("span", { class: "small" }, c.load === undefined ? "" : `load before ${c.load}`)),
      h("td", { class: "number states" }, `${c.states[0]}`, h("span", { class: "small" }, bad.map(([n, word]) => `${n}\u00a0${word}`).join(", "))),
      ...meanGroups.map((g) => meanCell(c, i, g)));
  };
  const drawSummary = () => {
    const title = (key, text, number) => head("summary", key, [text], number);
    const wanted = words($("device"));
    const list = columns.map((_, i) => i).filter((i) => holds(columns[i].text, wanted));
    $("summary").replaceChildren(
      h("thead", null, h("tr", null, h("th", { scope: "col", class: "plain" }, "Show"), title("device", "Device"), title("program", "Program"),
        title("backend", "Backend"), title("cpu", "Machine"), title("date", "Date"), title("ok", "Rows ok", true),
        ...meanGroups.map((g) => title(`g${g}`, groups[g][0], true)))),
      h("tbody", null, ...sorted(list, "summary", summaryValue).map(summaryRow)));
  };

  /* ---- all numbers ---- */

  const numberCell = (line, i, scale) => {
    const cell = line.by.get(i);
    if (!cell) return h("td", { class: "number missing", title: "no such row in this file" }, "-");
    if (cell.s !== 0) return h("td", { class: "number state", title: cell.why }, WORDS[cell.s]);
    const small = [];
    if (cell.v) small.push(h("span", { class: `small ${tone(cell) || ""}` }, `×${ratio(cell.r)}${mark(cell)}` + (cell.rl === undefined ? "" : ` (${ratio(cell.rl)}–${ratio(cell.rh)})`)));
    else if (cell.l !== undefined) small.push(h("span", { class: "small" }, `(${spell(cell.l, scale)}–${spell(cell.h, scale)})`));
    if (cell.p99 !== undefined) small.push(h("span", { class: "small" }, `p99 ${spell(cell.p99, scale)}`));
    if (cell.seeds) small.push(h("span", { class: "small" }, `${percent(cell.digit)} / ${percent(cell.sum)} % right`));
    if (cell.throttled) small.push(h("span", { class: "small worse" }, `throttled: ${cell.throttled}`));
    const about = [`${cell.n} samples`, cell.late && "time was over before the interval was narrow", cell.joules && `${cell.joules} J an image`, cell.celsius && `${cell.celsius} °C`].filter(Boolean).join("; ");
    return h("td", { class: "number", title: about }, spell(cell.m, scale), ...small);
  };
  const numbersValue = (line, by) => {
    if (by === "name") return nameOf(line);
    if (by === "unit") return line.unit;
    const i = Number(by.slice(1)), cell = line.by.get(i);
    return cell && cell.s === 0 ? (columns[i].base === i ? cell.m : cell.r) : undefined;
  };
  const numbersRow = (line, shown) => {
    const scale = lineScale(line);
    return h("tr", null, h("th", { scope: "row" }, line.name, h("span", { class: "small" }, line.parameters)),
      h("td", null, scale.unit, h("span", { class: "small" }, line.higher ? "↑" : "↓")), ...shown.map((i) => numberCell(line, i, scale)));
  };
  const drawNumbers = () => {
    const shown = shownColumns(), list = shownLines(), bodies = [];
    groups.forEach(([, title], g) => {
      const inside = sorted(list.filter((line) => line.g === g), "numbers", numbersValue);
      if (inside.length === 0) return;
      bodies.push(h("tbody", null, h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: 2 + shown.length }, title)), ...inside.map((line) => numbersRow(line, shown))));
    });
    const column = (i) => head("numbers", `c${i}`, [swatch(i), columns[i].key, h("br"), h("span", { class: "label" }, columns[i].label)], true);
    $("numbers").replaceChildren(
      h("thead", null, h("tr", null, head("numbers", "name", ["Measurement"]), head("numbers", "unit", ["Unit"]), ...shown.map(column))), ...bodies);
    $("count").textContent = `${list.length} of ${lines.length} measurements, ${shown.length} of ${columns.length} devices`;
  };
  const drawWhy = () => {
    const shown = new Set(shownColumns()), rows = [];
    for (const line of shownLines())
      for (const cell of line.cells)
        if (cell.s !== 0 && shown.has(cell.c))
          rows.push(h("tr", null, h("th", { scope: "row" }, swatch(cell.c), `${columns[cell.c].key} ${columns[cell.c].label}`), h("td", null, nameOf(line)), h("td", { class: "state" }, WORDS[cell.s]), h("td", null, cell.why)));
    $("reasons-section").hidden = rows.length === 0;
    $("why").replaceChildren(h("thead", null, h("tr", null, ...["Device", "Measurement", "Status", "Reason"].map((t) => h("th", { scope: "col", class: "plain" }, t)))), h("tbody", null, ...rows));
  };

  /* ---- charts: drawn when they come into view, or all before printing ---- */

  const pending = new Map();
  const drawChart = (figure) => { const draw = pending.get(figure); pending.delete(figure); if (draw) figure.append(...draw()); };
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { watcher.unobserve(entry.target); drawChart(entry.target); }
  }, { rootMargin: "400px" });
  const chart = (caption, height, draw) => {
    const figure = h("figure", null, caption);
    figure.style.minHeight = `${height}px`;
    pending.set(figure, () => { figure.style.minHeight = ""; return draw(); });
    watcher.observe(figure);
    return figure;
  };
  const forget = (box) => { for (const figure of box.querySelectorAll("figure")) { watcher.unobserve(figure); pending.delete(figure); } };
  addEventListener("beforeprint", () => { for (const figure of [...pending.keys()]) drawChart(figure); });

  const barsOf = (line, shown) => {
    const all = shown.filter((i) => line.by.has(i)).map((i) => line.by.get(i));
    if (all.length <= BARS) return [all, 0];
    const measured = all.filter((c) => c.s === 0).sort((a, b) => (line.higher ? b.m - a.m : a.m - b.m));
    return [measured.slice(0, BARS), all.length - Math.min(BARS, measured.length)];
  };
  const drawBars = (line, cells, left) => {
    const W = 400, X = 138, ROOM = 170, ROW = 20, scale = lineScale(line), all = cells.filter((c) => c.s === 0);
    const most = Math.max(...all.map((c) => Math.max(c.m, c.h || 0)), 0) || 1, x = (v) => X + (ROOM * Math.max(v, 0)) / most;
    const label = `${nameOf(line)}: ` + cells.map((c) => `${columns[c.c].label} ${c.s ? WORDS[c.s] : withUnit(c.m, line.unit)}`).join("; ");
    const svg = s("svg", { viewBox: `0 0 ${W} ${cells.length * ROW + 4}`, role: "img", "aria-label": label });
    svg.append(s("line", { class: "axis", x1: X, x2: X, y1: 0, y2: cells.length * ROW }));
    cells.forEach((c, k) => {
      const y = k * ROW + ROW / 2 + 1, column = columns[c.c];
      const bar = s("g", null, s("title", null, `${column.key} ${column.label}`), s("text", { x: X - 6, y: y + 4, "text-anchor": "end" }, cut(`${column.key} ${column.label}`, 20)));
      if (c.s) bar.append(s("text", { class: "quiet", x: X + 5, y: y + 4 }, WORDS[c.s]));
      else {
        bar.append(s("rect", { x: X, y: y - 6, width: Math.max(x(c.m) - X, 0.75), height: 12, rx: 1.5, colour: ["fill", colour(c.c)] }));
        let end = x(c.m);
        if (c.l !== undefined && x(c.h) - x(c.l) > 1.5) {
          bar.append(s("path", { class: "whisker", fill: "none", d: `M${x(c.l)} ${y - 3}v6m0-3H${x(c.h)}m0-3v6` }));
          end = Math.max(end, x(c.h));
        }
        bar.append(s("text", { x: end + 6, y: y + 4 }, spell(c.m, scale), c.v ? s("tspan", { class: tone(c), colour: tone(c) ? ["fill", `var(--${tone(c)})`] : ["fill", "var(--quiet)"] }, ` ×${ratio(c.r)}${mark(c)}`) : ""));
      }
      svg.append(bar);
    });
    return [svg, left ? h("span", { class: "small" }, `the best ${cells.length}; ${left} more in the table below`) : null].filter(Boolean);
  };
  const drawBarCharts = () => {
    const box = $("bar-charts"), shown = shownColumns(), children = [];
    let group = -1;
    forget(box);
    for (const line of shownLines()) {
      const [cells, left] = barsOf(line, shown);
      if (cells.length === 0) continue;
      if (line.g !== group) children.push(h("h3", null, groups[(group = line.g)][1]));
      const caption = h("figcaption", null, line.name, h("span", { class: "small" }, `${line.parameters ? line.parameters + ", " : ""}${lineScale(line).unit} ${line.higher ? "↑" : "↓"}`));
      children.push(chart(caption, 46 + cells.length * 20, () => drawBars(line, cells, left)));
    }
    box.replaceChildren(...children);
  };

  /* ---- rooflines ---- */

  const isPrecision = (line, word) => line.parameters.split(", ").includes(`precision=${word}`);
  const roofsOf = (i) => {
    const peaks = lines.filter((l) => l.g === 0 && l.by.has(i) && l.by.get(i).s === 0).map((l) => ({ line: l, value: l.by.get(i).m }));
    const flops = peaks.filter((p) => p.line.unit === "FLOP/s").sort((a, b) => b.value - a.value);
    const bytes = peaks.filter((p) => p.line.unit === "B/s" && !/local|upload|download|host/.test(nameOf(p.line))).sort((a, b) => b.value - a.value);
    const main = flops.find((p) => isPrecision(p.line, "fp32")) || flops[0];
    return { main, others: flops.filter((p) => p !== main), bytes: bytes[0] };
  };
  const pointsOf = (i, list) => list.filter((l) => l.g !== 0 && l.by.has(i)).map((l) => ({ line: l, cell: l.by.get(i) }))
    .filter(({ cell }) => cell.s === 0 && cell.flops > 0)
    .map(({ line, cell }) => ({ line, x: cell.bytes > 0 ? cell.flops / cell.bytes : null, y: line.unit === "FLOP/s" ? cell.m : cell.flops * (cell.rate || 0) })).filter((p) => p.y > 0);
  const roofName = (p) => `${p.line.parameters.replace("precision=", "") || p.line.name} ${withUnit(p.value, p.line.unit)}`;
  const drawRoofline = (i, points) => {
    const { main, others, bytes } = roofsOf(i), placed = points.filter((p) => p.x !== null), xs = placed.map((p) => p.x), ys = points.map((p) => p.y);
    const highs = [main, ...others].filter(Boolean).map((p) => p.value);
    if (main && bytes) xs.push(main.value / bytes.value);
    if (xs.length === 0) xs.push(1, 100);
    xs.push(Math.min(...xs) / 2, Math.max(...xs) * 2);
    const label = `Roofline of ${columns[i].label}: ${points.length} measurements` + (main ? `, arithmetic ${withUnit(main.value, "FLOP/s")}` : "") + (bytes ? `, memory ${withUnit(bytes.value, "B/s")}` : "");
    const flops = (v) => { const k = scaleOf(v, "FLOP/s"); return `${plain(v / k.factor)} ${k.unit[0] === "F" ? "" : k.unit[0]}`; };
    const a = axes([400, 250, 52, 12, 14, 32], { ...spread(xs, true), spell: plain }, { ...spread([...ys, ...highs], true), spell: flops }, "FLOP per byte", label);
    a.svg.append(s("text", { class: "quiet", x: 0, y: 9 }, "FLOP/s"));
    const flat = (p, cls) => {
      const from = bytes ? Math.min(Math.max(p.value / bytes.value, a.x0), a.x1) : a.x0;
      a.svg.append(s("line", { class: `roof ${cls}`, x1: a.x(from), x2: a.x(a.x1), y1: a.y(p.value), y2: a.y(p.value) }, s("title", null, roofName(p))));
    };
    if (main) flat(main, "");
    for (const p of others) flat(p, "other");
    if (bytes) {
      const top = Math.max(...highs, 0) || a.y1, x0 = Math.max(a.x0, a.y0 / bytes.value), x1 = Math.min(a.x1, top / bytes.value);
      if (x1 > x0) a.svg.append(s("line", { class: "roof", x1: a.x(x0), y1: a.y(x0 * bytes.value), x2: a.x(x1), y2: a.y(x1 * bytes.value) }));
    }
    const about = (p) => s("title", null, `${nameOf(p.line)}: ${withUnit(p.y, "FLOP/s")}` + (p.x === null ? ", bytes not stated" : `, ${plain(p.x)} FLOP per byte`));
    for (const p of placed)
      a.svg.append(s("circle", { cx: a.x(p.x), cy: a.y(p.y), r: 3.2, colour: ["fill", `var(--s${p.line.g})`], stroke: "var(--card)", "stroke-width": 0.7 }, about(p)));
    for (const p of points) /* without a place on the axis of intensity: a mark at the edge */
      if (p.x === null) a.svg.append(s("line", { x1: a.x(a.x1) - 9, x2: a.x(a.x1), y1: a.y(p.y), y2: a.y(p.y), "stroke-width": 2, colour: ["stroke", `var(--s${p.line.g})`] }, about(p)));
    const seen = [...new Set(points.map((p) => p.line.g))];
    const roofs = [main ? roofName(main) : "no peak of arithmetic was measured", bytes ? `${bytes.line.name} ${withUnit(bytes.value, "B/s")}` : "no peak of memory was measured"];
    const legend = h("ul", { class: "legend" }, ...seen.map((g) => h("li", null, swatch(g), groups[g][1])), h("li", null, `— ${roofs.join(", ")}`),
      others.length ? h("li", null, `- - ${others.map(roofName).join(", ")}`) : null,
      placed.length < points.length ? h("li", null, `marks at the edge: ${points.length - placed.length} that state no bytes`) : null);
    return [a.svg, legend];
  };
  const drawRooflines = () => {
    const box = $("roofline-charts"), list = shownLines(), figures = [];
    forget(box);
    for (const i of shownColumns()) {
      const points = pointsOf(i, list);
      if (points.length) figures.push(chart(h("figcaption", null, `${columns[i].key} ${columns[i].label}`), 330, () => drawRoofline(i, points)));
    }
    $("rooflines-section").hidden = figures.length === 0;
    box.replaceChildren(...figures);
  };

  /* ---- time to accuracy ---- */

  const dash = (column) => ["", "5 3", "2 2", "8 3 2 3"][Math.floor(column / 8) % 4]; /* colours come again after eight */
  const sample = (column) => s("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" }, s("line", { x1: 0, x2: 26, y1: 4, y2: 4, "stroke-width": 2.5, "stroke-dasharray": dash(column), colour: ["stroke", colour(column)] }));

  const drawCurves = (line, cells, which, head) => {
    const error = (p) => Math.max(100 * (1 - p[which]), 0.01), usable = (p) => p[1] > 0;
    const points = cells.flatMap((c) => c.curve.filter(usable));
    if (points.length === 0) return [];
    const label = `${head} error over time, ${nameOf(line)}: ` + cells.map((c) => `${columns[c.c].label} ${percent(1 - c[head])} % wrong in the end`).join("; ");
    const a = axes([560, 270, 40, 12, 14, 32], { ...spread(points.map((p) => p[1]), true), spell: plain }, { ...spread(points.map(error), true), spell: plain }, "seconds of training", label);
    a.svg.append(s("text", { class: "quiet", x: 0, y: 9 }, `${head}: % wrong`));
    for (const c of cells)
      for (const seed of new Set(c.curve.map((p) => p[0]))) {
        const own = c.curve.filter((p) => p[0] === seed && usable(p));
        if (own.length === 0) continue;
        const last = own[own.length - 1];
        a.svg.append(s("polyline", { class: "seed", points: own.map((p) => `${a.x(p[1])},${a.y(error(p))}`).join(" "), colour: ["stroke", colour(c.c)], "stroke-dasharray": dash(c.c) }, s("title", null, `${columns[c.c].label}, seed ${seed}`)),
          s("circle", { cx: a.x(last[1]), cy: a.y(error(last)), r: 2.6, colour: ["fill", colour(c.c)] }));
      }
    return [a.svg];
  };
  const drawCurveCharts = () => {
    const box = $("curve-charts"), shown = new Set(shownColumns()), figures = [];
    forget(box);
    for (const line of shownLines()) {
      const all = line.cells.filter((c) => c.curve && shown.has(c.c)), cells = all.slice(0, BARS);
      if (cells.length === 0) continue;
      const legend = () => h("ul", { class: "legend" }, ...cells.map((c) => h("li", null, sample(c.c), `${columns[c.c].key} ${cut(columns[c.c].label, 34)}: ${percent(c.digit)} / ${percent(c.sum)} %`)), all.length > cells.length ? h("li", null, `and ${all.length - cells.length} more: choose devices above`) : null);
      for (const [which, head] of [[2, "digit"], [3, "sum"]])
        figures.push(chart(h("figcaption", null, head, h("span", { class: "small" }, nameOf(line))), 340, () => [...drawCurves(line, cells, which, head), legend()]));
    }
    $("curves-section").hidden = figures.length === 0;
    box.replaceChildren(...figures);
  };

  /* ---- the page ---- */

  const drawAll = () => { drawSummary(); drawNumbers(); drawWhy(); drawBarCharts(); drawRooflines(); drawCurveCharts(); };
  let due = 0;
  const soon = () => { cancelAnimationFrame(due); due = requestAnimationFrame(drawAll); };
  $("group").append(...groups.map(([, title], g) => [title, g]).filter(([, g]) => lines.some((l) => l.g === g)).map(([title, g]) => h("option", { value: g }, title)));
  for (const id of ["find", "device"]) $(id).addEventListener("input", soon);
  $("group").addEventListener("change", soon);
  const choose = (wanted) => { columns.forEach((_, i) => { chosen[i] = wanted(i); }); drawAll(); };
  $("all").addEventListener("click", () => choose(() => true));
  $("none").addEventListener("click", () => choose((i) => columns[i].base === i));
  const dates = columns.map((c) => c.date.slice(0, 10)).sort();
  const when = dates[0] === dates[dates.length - 1] ? dates[0] : `${dates[0]} to ${dates[dates.length - 1]}`;
  $("lead").textContent = `${lines.length} measurements on ${columns.length} ${columns.length === 1 ? "device" : "devices"}, ${when}. Base: ${columns[0].key} ${columns[0].label}.` + (columns.length > COLUMNS ? ` The first ${COLUMNS} devices are shown; choose others below.` : "");
  $("about-means").textContent = data.about_means;
  $("about-ratios").textContent = data.about_ratios;
  drawAll();
  page.ready();
})();
