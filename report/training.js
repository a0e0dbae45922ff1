/* A training as report/report.c tells it: curves, mistakes, the network, facts. */
(() => {
  const { $, h, s, cut, digits, plain, percent, axes, data } = page;
  const HEADS = ["digit", "sum"], COLOURS = ["var(--digit)", "var(--sum)"];
  const [EPOCH, LOSS, WHILE, MEASURED, RIGHT, SPEED] = [0, 1, 3, 5, 7, 10]; /* places in a row of an epoch; two a head */
  const [STEP, RATE, STEP_LOSS, LOW] = [0, 1, 2, 4]; /* in a row of steps; LOW: least and largest, a pair a head */
  const { epochs, steps, network } = data, last = epochs[epochs.length - 1];
  const many = (n) => n.toLocaleString("en");
  const share = (part, all) => (100 * part / all).toFixed(part === all ? 0 : 1);
  const isNumber = (v) => v !== null && v !== undefined;

  /* ---- the head ---- */

  const drawTiles = () => {
    const tile = (kind, title, value, unit, about) => h("div", { class: kind }, h("dt", null, title), h("dd", { class: "value" }, value, " ", h("small", null, unit)), h("dd", { class: "small" }, about));
    const right = (head) => (last ? tile(HEADS[head], head ? "Sum right" : "Digit right", percent(last[RIGHT + head]), "%", `${many(Math.round((1 - last[RIGHT + head]) * data.images))} of ${many(data.images)} ${data.measured} images wrong`)
      : tile(HEADS[head], head ? "Sum right" : "Digit right", "–", "", "not measured"));
    const done = steps.length ? steps[steps.length - 1][STEP] : data.resumed;
    const images = epochs.reduce((sum, e) => sum + e[SPEED] * e[9], 0), seconds = epochs.reduce((sum, e) => sum + e[9], 0);
    $("tiles").append(right(0), right(1),
      tile("", "Training", digits(data.train_s, 3), "s", `${many(done)} ${done === 1 ? "step" : "steps"}, ${many(data.epochs_ended)} ${data.epochs_ended === 1 ? "epoch" : "epochs"} measured`),
      tile("", "Speed", seconds ? many(Math.round(images / seconds)) : "–", "images/s", "while training"));
  };

  /* ---- curves ---- */

  const SIZE = 280;
  const width = (figure) => Math.max(290, Math.min(860, figure.clientWidth - 30)); /* letters keep their size */
  /* Straight lines from point to point; null leaves a gap, a point alone is a dot. */
  const path = (points) => {
    let text = "", pen = "M";
    for (const [x, y] of points) {
      text += y === null ? "" : pen === "M" ? `M${x.toFixed(1)} ${y.toFixed(1)}h0.01` : `L${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = y === null ? "M" : "L";
    }
    return text;
  };
  /* A mean with Gaussian weights over neighbours; gaps stay gaps. */
  const smooth = (values) => {
    const sigma = values.length / 80, reach = Math.ceil(2.5 * sigma);
    if (sigma < 1) return values;
    const weights = Array.from({ length: reach + 1 }, (_, d) => Math.exp(-0.5 * (d / sigma) ** 2));
    return values.map((v, i) => {
      if (v === null) return null;
      let sum = 0, total = 0;
      for (let k = Math.max(0, i - reach); k <= Math.min(values.length - 1, i + reach); k++)
        if (values[k] !== null) { sum += weights[Math.abs(k - i)] * values[k]; total += weights[Math.abs(k - i)]; }
      return sum / total;
    });
  };
  const line = (name, head, points) => s("path", { class: name, "data-head": HEADS[head] || "", d: path(points), colour: ["stroke", head === undefined ? "var(--accent)" : COLOURS[head]], "stroke-linecap": "round" });
  const dot = (x, y, head, hollow) => s("circle", { cx: x, cy: y, r: hollow ? 3 : 2.8, "stroke-width": 1.5, fill: hollow ? "var(--card)" : COLOURS[head], colour: ["stroke", COLOURS[head]] });
  const key = (head, words, style) => h("li", null, s("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" }, s("line", { x1: 0, x2: 26, y1: 4, y2: 4, "stroke-width": 2.5, colour: ["stroke", head === undefined ? "var(--accent)" : COLOURS[head]], ...style })), words);
  const legend = (...keys) => h("ul", { class: "legend" }, ...keys);
  const nothing = (words) => [h("p", { class: "nothing" }, words)];

  /* What lies under the pointer, or where the arrow keys went, as words in the caption. */
  const follow = (a, xs, words) => {
    const box = a.svg.viewBox.baseVal, cursor = s("line", { class: "cursor", y1: 10, y2: box.height - 32, visibility: "hidden" });
    let at = xs.length - 1;
    const out = () => a.svg.closest("figure").querySelector("output");
    const show = (i) => {
      at = Math.max(0, Math.min(xs.length - 1, i));
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, a.x(xs[at]));
      cursor.setAttribute("visibility", "visible");
      out().textContent = words(at);
    };
    const hide = () => { cursor.setAttribute("visibility", "hidden"); out().textContent = ""; };
    a.svg.append(cursor);
    a.svg.setAttribute("tabindex", 0);
    a.svg.addEventListener("pointermove", (event) => {
      const r = a.svg.getBoundingClientRect(), x = ((event.clientX - r.left) / r.width) * box.width;
      let best = 0;
      xs.forEach((v, i) => { if (Math.abs(a.x(v) - x) < Math.abs(a.x(xs[best]) - x)) best = i; });
      show(best);
    });
    a.svg.addEventListener("pointerleave", hide);
    a.svg.addEventListener("blur", hide);
    a.svg.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: xs.length - 1 }[event.key];
      if (to !== undefined) { event.preventDefault(); show(to); }
    });
  };
  const caption = (title, about) => h("figcaption", null, h("output", { class: "readout" }), title, h("span", { class: "small" }, about));

  const acrossSteps = (low, high) => ({ low, high: high > low ? high : low + 1, whole: true, spell: (v) => (v >= 1e4 ? `${plain(v / 1e3)}k` : String(v)) });
  const markEpochs = (a, H) => {
    const first = Math.ceil(a.x0 / data.steps_per_epoch + 1e-9), end = Math.floor(a.x1 / data.steps_per_epoch - 1e-9);
    if (end - first < 40) for (let e = Math.max(first, 1); e <= end; e++) a.svg.append(s("line", { class: "epoch", x1: a.x(e * data.steps_per_epoch), x2: a.x(e * data.steps_per_epoch), y1: 10, y2: H - 32 }));
  };
  const shownSteps = () => acrossSteps(data.resumed, steps[steps.length - 1][STEP]);

  const drawLoss = (figure) => {
    const FLOOR = 1e-7, raw = [0, 1].map((head) => steps.map((p) => p[STEP_LOSS + head])), soft = raw.map(smooth);
    const ends = epochs.map((e) => e[EPOCH] * data.steps_per_epoch), seen = epochs.filter((_, i) => ends[i] > data.resumed && steps.length);
    const low = [...soft.flat(), ...seen.flatMap((e) => [e[MEASURED], e[MEASURED + 1]])].filter(isNumber), high = data.merged > 1 ? steps.flatMap((p) => [p[LOW + 1], p[LOW + 3]]).filter(isNumber) : raw.flat().filter(isNumber);
    if (high.length === 0) return nothing("No step with a loss.");
    const W = width(figure), H = SIZE + 60, bottom = Math.max(Math.min(...low) / 1.5, FLOOR);
    const up = { low: bottom, high: Math.max(...high, ...low, 2 * bottom) * 1.15, log: true, spell: plain };
    const final = (head) => { const v = soft[head][soft[head].length - 1]; return isNumber(v) ? digits(v, 3) : "no number"; };
    const a = axes([W, H, 44, 12, 10, 32], shownSteps(), up, "steps", `Loss over ${many(steps.length)} points of steps, in the end digit ${final(0)}, sum ${final(1)}`);
    const y = (v) => (isNumber(v) ? Math.min(a.y(Math.max(v, up.low)), H - 32) : null), at = (values) => values.map((v, i) => [a.x(steps[i][STEP]), y(v)]);
    markEpochs(a, H);
    for (const head of [0, 1]) {
      if (data.merged > 1) {
        const lows = at(steps.map((p) => p[LOW + 2 * head])).filter((p) => p[1] !== null), highs = at(steps.map((p) => p[LOW + 1 + 2 * head])).filter((p) => p[1] !== null);
        a.svg.append(s("polygon", { class: "band", points: [...highs, ...lows.reverse()].map((p) => p.map((v) => v.toFixed(1)).join(",")).join(" "), colour: ["fill", COLOURS[head]] }));
      }
      a.svg.append(line("raw", head, at(raw[head])));
    }
    for (const head of [0, 1]) a.svg.append(line("smooth", head, at(soft[head])));
    for (const e of seen) for (const head of [0, 1])
      if (isNumber(e[MEASURED + head])) a.svg.append(dot(a.x(Math.min(e[EPOCH] * data.steps_per_epoch, a.x1)), y(e[MEASURED + head]), head, true));
    const say = (v) => (isNumber(v) ? digits(v, 3) : "no number");
    follow(a, steps.map((p) => p[STEP]), (i) => `step ${many(steps[i][STEP])}: digit ${say(steps[i][STEP_LOSS])}, sum ${say(steps[i][STEP_LOSS + 1])}`);
    return [a.svg, legend(key(0, "digit"), key(1, "sum"), h("li", null, `thin: ${data.merged > 1 ? `means of ${data.merged} steps, with least and largest` : "each step"}; ○ ${data.measured} images after an epoch`))];
  };

  const drawAccuracy = (figure) => {
    if (!last) return nothing("No epoch has ended.");
    const W = width(figure), H = SIZE + 60, wrong = (v) => Math.max(100 * (1 - v), 50 / data.images);
    const all = epochs.flatMap((e) => [0, 1].flatMap((head) => [wrong(e[RIGHT + head]), wrong(e[WHILE + head])]));
    const across = { low: epochs[0][EPOCH] - 0.5, high: last[EPOCH] + 0.5, whole: true, spell: String };
    const log = Math.min(...all) < 20, room = log ? 1.5 : 1.1, low = Math.min(...all) / room; /* where little is wrong, the scale is that of what is wrong */
    const up = { low, high: Math.max(Math.min(Math.max(...all) * room, 100), log ? 2 * low : 0), log, down: true, dense: true, spell: (v) => String(Number((100 - v).toPrecision(6))) };
    const a = axes([W, H, 44, 12, 10, 32], across, up, "epochs", `Accuracy by epoch; in the end digit ${percent(last[RIGHT])} %, sum ${percent(last[RIGHT + 1])} %`);
    for (const head of [0, 1]) {
      const at = (place) => epochs.map((e) => [a.x(e[EPOCH]), a.y(wrong(e[place + head]))]);
      a.svg.append(line("aside", head, at(WHILE)), line("smooth", head, at(RIGHT)));
      if (epochs.length <= 60) a.svg.append(...at(RIGHT).map(([x, y]) => dot(x, y, head)));
      if (epochs.length === 1) a.svg.append(...at(WHILE).map(([x, y]) => dot(x, y, head, true)));
    }
    follow(a, epochs.map((e) => e[EPOCH]), (i) => `epoch ${epochs[i][EPOCH]}: digit ${percent(epochs[i][RIGHT])} %, sum ${percent(epochs[i][RIGHT + 1])} %`);
    return [a.svg, legend(key(0, "digit"), key(1, "sum"), key(0, "digit, while training", { "stroke-dasharray": "4 3", "stroke-width": 1.5 }), key(1, "sum, while training", { "stroke-dasharray": "4 3", "stroke-width": 1.5 }), log ? h("li", null, "logarithmic in what is wrong") : null)];
  };

  const drawRate = (figure) => {
    if (steps.length === 0) return nothing("No step was taken.");
    const a = axes([width(figure), SIZE - 40, 56, 12, 10, 32], shownSteps(), { low: 0, high: Math.max(...steps.map((p) => p[RATE])) * 1.08, spell: plain }, "steps", "Learning rate over the steps");
    markEpochs(a, SIZE - 40);
    a.svg.append(line("smooth", undefined, steps.map((p) => [a.x(p[STEP]), a.y(p[RATE])])));
    follow(a, steps.map((p) => p[STEP]), (i) => `step ${many(steps[i][STEP])}: ${digits(steps[i][RATE], 3)}`);
    return [a.svg];
  };

  const drawSpeed = (figure) => {
    const per = data.steps_per_epoch, end = steps.length ? steps[steps.length - 1][STEP] : data.resumed;
    const rows = epochs.filter((e) => isNumber(e[SPEED])).map((e, i) => ({ from: i && e[EPOCH] - epochs[i - 1][EPOCH] > 1 ? epochs[i - 1][EPOCH] * per : (e[EPOCH] - 1) * per, to: Math.min(e[EPOCH] * per, Math.max(end, (e[EPOCH] - 1) * per + 1)), e }));
    const all = [...rows.map((r) => r.e[SPEED]), ...data.speed.map((m) => m[2])];
    if (all.length === 0) return nothing("Too short to measure.");
    const unit = Math.max(...all) >= 1e4 ? 1e3 : 1, across = acrossSteps(0, Math.max(end, ...rows.map((r) => r.to)));
    const a = axes([width(figure), SIZE - 40, 56, 12, 10, 32], across, { low: 0, high: Math.max(...all) * 1.12, spell: (v) => plain(v / unit) + (unit > 1 && v ? "k" : "") }, "steps", `Speed, mean of the last epoch ${rows.length ? many(Math.round(rows[rows.length - 1].e[SPEED])) : "not known"} images a second`);
    const points = data.speed.flatMap(([from, to, v], i) => {
      const apart = i && (from !== data.speed[i - 1][1] || Math.floor((to - 1) / per) !== Math.floor((data.speed[i - 1][1] - 1) / per));
      return [...(apart ? [[0, null]] : []), [a.x((from + to) / 2), a.y(v)]];
    });
    a.svg.append(line("raw", undefined, points), ...rows.map((r) => s("line", { class: "smooth", x1: a.x(r.from), x2: a.x(r.to), y1: a.y(r.e[SPEED]), y2: a.y(r.e[SPEED]), colour: ["stroke", "var(--accent)"] })));
    if (rows.length) follow(a, rows.map((r) => (r.from + r.to) / 2), (i) => `epoch ${rows[i].e[EPOCH]}: ${many(Math.round(rows[i].e[SPEED]))} images/s, ${digits(rows[i].e[9], 3)} s`);
    return [a.svg];
  };

  const drawCurves = () => {
    const box = $("curves"), from = data.resumed ? `, from step ${many(data.resumed + 1)} on` : "";
    const charts = [[drawLoss, "Loss", `cross-entropy of each head in nats, logarithmic; the thick line is smoothed${from}`],
      [drawAccuracy, "Accuracy", `% right of the ${data.measured} images, after each epoch`],
      [drawRate, "Learning rate", `by step${from}`], [drawSpeed, "Speed", "images a second: thick the mean of an epoch, thin moments of it, saving included"]];
    const figures = charts.map(([, title, about]) => h("figure", null, caption(title, about)));
    box.replaceChildren(...figures);
    figures.forEach((figure, i) => figure.append(...charts[i][0](figure)));
  };

  /* ---- mistakes ---- */

  const heat = (node, value) => { node.style.setProperty("--heat", value.toFixed(3)); if (value > 0.8) node.classList.add("hot"); return node; };
  const side = (words, scope, name) => h("th", { scope, class: name }, words);
  /* counts[wanted][said]; what is not on the diagonal is the warmer the more often. */
  const drawConfusion = (head) => {
    const counts = data.mistakes.confusion[head], n = counts.length, name = HEADS[head];
    const most = Math.max(1, ...counts.flatMap((row, i) => row.filter((_, j) => j !== i)));
    const cell = (count, i, j) => {
      const node = h("td", { class: i === j ? "right" : count ? "" : "zero", title: count ? `${name} ${i}: ${many(count)} × said ${j}` : null }, String(count));
      return i === j || !count ? node : heat(node, Math.sqrt(count / most));
    };
    const row = (list, i) => {
      const all = list.reduce((a, b) => a + b, 0);
      return h("tr", null, side(i, "row", "side"), ...list.map((count, j) => cell(count, i, j)), h("td", { class: "margin" }, all ? `${share(list[i], all)} %` : "–"));
    };
    const table = h("table", { class: n > 12 ? "matrix many" : "matrix", id: `confusion-${name}` },
      h("thead", null, h("tr", null, side("", "col", "side"), ...counts.map((_, j) => side(j, "col")), side("right", "col", "share"))), h("tbody", null, ...counts.map(row)));
    return h("figure", { class: n > 12 ? "whole" : null }, h("figcaption", null, head ? "Sums" : "Digits", h("span", { class: "small" }, `rows: what it was; columns: what the network said`)),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Confusion of ${name}s` }, table));
  };
  const drawSums = () => {
    const { all, right } = data.mistakes, columns = all[0].map((_, n) => n), total = (list) => list.reduce((a, b) => a + b, 0);
    const wrong = all.map((row, d) => row.map((count, n) => (count ? 1 - right[d][n] / count : 0))), most = Math.max(1e-9, ...wrong.flat());
    const words = (r, count) => (count ? share(r, count) : "–");
    const cell = (d, n) => heat(h("td", { title: `a ${d} and the number ${n}: ${right[d][n]} of ${all[d][n]} right`, "data-right": right[d][n], "data-all": all[d][n] }, words(right[d][n], all[d][n])), Math.sqrt(wrong[d][n] / most));
    const table = h("table", { class: "matrix", id: "sums" }, h("thead", null, h("tr", null, side("", "col", "side"), ...columns.map((n) => side(`+${n}`, "col")), side("all", "col", "share"))),
      h("tbody", null, ...all.map((row, d) => h("tr", null, side(d, "row", "side"), ...columns.map((n) => cell(d, n)), h("td", { class: "margin" }, words(total(right[d]), total(row))))),
        h("tr", null, side("all", "row", "side"), ...columns.map((n) => h("td", { class: "margin" }, words(total(right.map((r) => r[n])), total(all.map((r) => r[n]))))), h("td", { class: "margin" }, words(total(right.flat()), total(all.flat()))))));
    return h("figure", null, h("figcaption", null, "Sums right, in %", h("span", { class: "small" }, "rows: the digit of the picture; columns: the number beside it")),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Sums right by digit and number" }, table));
  };

  const drawBars = (m, wanted) => {
    const STEP_X = 9.4, HIGH = 24, svg = s("svg", { viewBox: `0 0 ${29 * STEP_X + 14} ${HIGH + 12}`, role: "img", "aria-label": HEADS.map((name, head) => `${name}: ` + m.probabilities[head].map((p, i) => [p, i]).filter(([p]) => p > 0.005).map(([p, i]) => `${i} ${percent(p)} %`).join(", ")).join("; ") });
    HEADS.forEach((_, head) => m.probabilities[head].forEach((p, i) => {
      const x = i * STEP_X + head * (10 * STEP_X + 14), kind = i === wanted[head] ? "wanted" : i === m.said[head] ? "said" : "", tall = Math.max(HIGH * (p || 0), 0.6);
      svg.append(s("rect", { class: `bar ${kind}`, x: x + 1, y: HIGH - tall, width: STEP_X - 2, height: tall }, s("title", null, `${i}: ${isNumber(p) ? percent(p) : "no number"}${isNumber(p) ? " %" : ""}`)));
      const beside = head && kind && Math.abs(wanted[1] - m.said[1]) === 1 ? (i === Math.min(wanted[1], m.said[1]) ? "end" : "start") : "middle";
      if (!head || kind) svg.append(s("text", { class: kind, x: x + { start: 0.7, middle: 0.5, end: 0.3 }[beside] * STEP_X, y: HIGH + 10, "text-anchor": beside }, i));
    }));
    return svg;
  };
  const drawMistake = (m) => {
    const wanted = [m.digit, m.digit + m.number];
    const said = (head) => { const v = m.said[head], right = v === wanted[head]; return h("span", { class: right ? null : "no" }, `${HEADS[head]} `, v < 0 ? "no number" : `${v}`, isNumber(m.probabilities[head][v]) ? ` (${share(m.probabilities[head][v], 1)} %)` : ""); };
    return h("figure", null, h("img", { src: m.picture, alt: `${data.measured} image ${m.sample}, a ${m.digit}`, width: 84, height: 84 }),
      h("figcaption", null, h("b", null, `${m.digit} + ${m.number} = ${wanted[1]}`), h("span", { class: "small" }, `image ${many(m.sample)}, loss ${isNumber(m.loss[0]) && isNumber(m.loss[1]) ? digits(m.loss[0] + m.loss[1], 3) : "no number"}`)),
      h("figcaption", null, said(0), h("br"), said(1)), drawBars(m, wanted));
  };
  const drawMistakes = () => {
    const m = data.mistakes;
    if (!m) {
      $("about-wrong").textContent = "Not known: the run was interrupted before its predictions were made.";
      for (const id of ["matrices", "worst-title", "about-worst", "worst"]) $(id).hidden = true;
      return;
    }
    const silent = m.silent[0] + m.silent[1];
    $("about-wrong").textContent = `What it says of all ${many(data.images)} ${data.measured} images after the last step, each with its fixed number.` + (silent ? ` ${many(m.silent[0])} digits and ${many(m.silent[1])} sums are no numbers: they stand in no column, and count as wrong.` : "");
    $("matrices").replaceChildren(drawConfusion(0), drawSums(), drawConfusion(1));
    $("about-worst").textContent = m.worst.length ? "Those with the largest sum of both losses, with the probabilities of all digits and sums: blue what it was, orange what the network said instead." : "None: every answer is right.";
    $("worst").replaceChildren(...m.worst.map(drawMistake));
  };

  /* ---- the network: a row each step of the way, inputs above, heads below or beside ---- */

  const drawNetwork = () => {
    const layers = network.layers, n = layers.length, isHead = (i) => network.heads.includes(i);
    const outputs = layers.map((_, i) => layers.map((_, k) => k).filter((k) => layers[k].inputs.includes(i)));
    const ofPicture = [], row = [], ahead = [];
    layers.forEach((l, i) => {
      ofPicture[i] = i === 0 || l.inputs.some((k) => ofPicture[k]);
      row[i] = Math.max(-1, ...l.inputs.map((k) => row[k])) + 1;
    });
    for (let i = n; i-- > 0;) {
      ahead[i] = Math.max(-1, ...outputs[i].map((k) => ahead[k])) + 1;
      if (!ofPicture[i]) row[i] = Math.min(...outputs[i].map((k) => row[k])) - 1; /* what comes in late stands where it does */
    }
    const taken = new Set(), column = [], lanes = new Map(), rows = Math.max(...row) + 1;
    const take = (r, wanted, left) => {
      for (let d = 0; ; d++)
        for (const c of left ? [wanted - d, wanted + d] : [wanted + d, wanted - d])
          if (!taken.has(`${r} ${c}`)) { taken.add(`${r} ${c}`); return c; }
    };
    for (let r = 0; r < rows; r++) {
      for (const i of layers.map((_, k) => k).filter((k) => row[k] === r).sort((a, b) => ahead[b] - ahead[a] || a - b)) {
        const before = layers[i].inputs.length ? column[layers[i].inputs.reduce((a, b) => (ofPicture[b] && !ofPicture[a] ? b : a))] : i ? 1 : 0;
        column[i] = take(r, before, isHead(i));
      }
      layers.forEach((l, i) => l.inputs.forEach((k) => { /* connections that pass by */
        if (row[k] >= r || row[i] <= r) return;
        const lane = lanes.get(`${k} ${i}`) || [];
        lane.push(take(r, lane.length ? lane[lane.length - 1] : column[k], false));
        lanes.set(`${k} ${i}`, lane);
      }));
    }
    const WIDE = 176, BETWEEN = 22, GAP = 20, left = Math.min(...column, ...[...lanes.values()].flat()), right = Math.max(...column, ...[...lanes.values()].flat());
    const tall = (i) => (layers[i].parameters || layers[i].op === "input" || isHead(i) ? 42 : 25);
    const top = [], height = [];
    for (let r = 0, y = 2; r < rows; y += height[r] + GAP, r++) { top[r] = y; height[r] = Math.max(...row.map((at, i) => (at === r ? tall(i) : 0))); }
    const W = (right - left + 1) * (WIDE + BETWEEN) - BETWEEN + 4, H = top[rows - 1] + height[rows - 1] + 2;
    const x = (c) => 2 + (c - left) * (WIDE + BETWEEN) + WIDE / 2, above = (i) => top[row[i]] + (height[row[i]] - tall(i)) / 2;
    const svg = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `The network ${network.name}: ` + layers.map((l) => `${l.name} (${l.op})${l.inputs.length ? ` of ${l.inputs.map((k) => layers[k].name).join(" and ")}` : ""}`).join("; ") });
    Object.assign(svg.style, { maxWidth: `${W}px`, minWidth: `${0.72 * W}px` });
    layers.forEach((l, i) => l.inputs.forEach((k) => {
      let at = [x(column[k]), above(k) + tall(k)], d = `M${at}`;
      const to = (p) => { const middle = (at[1] + p[1]) / 2; d += at[0] === p[0] ? `L${p}` : `C${at[0]} ${middle} ${p[0]} ${middle} ${p}`; at = p; };
      (lanes.get(`${k} ${i}`) || []).forEach((c, r) => { to([x(c), top[row[k] + 1 + r]]); to([x(c), top[row[k] + 1 + r] + height[row[k] + 1 + r]]); });
      to([x(column[i]), above(i)]);
      svg.append(s("path", { class: "wire", d }));
    }));
    const shape = (l) => (l.shape[1] === 1 && l.shape[2] === 1 ? String(l.shape[0]) : l.shape.join("×"));
    const words = (l) => ({ conv: `conv ${l.kernel}×${l.kernel}`, max_pool: `max ${l.kernel}×${l.kernel}`, average_pool: `mean ${l.kernel}×${l.kernel}`, cross_entropy: "loss", batch_norm: "batch norm" })[l.op] || l.op;
    layers.forEach((l, i) => {
      const x0 = x(column[i]) - WIDE / 2, y0 = above(i), kind = l.op === "input" ? "input" : isHead(i) ? "head" : l.parameters ? "trained" : "";
      const text = (name, where, y, value) => s("text", { class: name, x: where ? x0 + WIDE - 9 : x0 + 9, y: y0 + y, "text-anchor": where ? "end" : "start" }, value);
      const double = tall(i) > 30, about = isHead(i) ? `loss of the ${HEADS[network.heads.indexOf(i)]}` : l.op === "input" ? (i ? "one-hot" : "pixels") : words(l);
      svg.append(s("g", { class: `layer ${kind}` }, s("title", null, `${l.name}: ${l.op}, ${shape(l)}${l.parameters ? `, ${many(l.parameters)} parameters` : ""}`), s("rect", { x: x0, y: y0, width: WIDE, height: tall(i), rx: 6 }),
        s("text", { x: x0 + 9, y: y0 + 17 }, s("tspan", { class: "name" }, cut(l.name, 15)), double || l.name.startsWith(l.op) ? "" : s("tspan", { class: "about", dx: 6 }, about)),
        text("about", true, 17, shape(l)), double ? text("about", false, 33, about) : null,
        double && l.parameters ? text("about", true, 33, many(l.parameters)) : null));
    });
    $("drawing").replaceChildren(svg);
    $("about-network").textContent = `${network.name}: ${many(network.parameters)} parameters in ${n - 2} layers, from the picture and the number to the losses of both heads. Right in a box: the shape of its result, and its parameters where it has some.`;
  };

  /* ---- facts, others ---- */

  const drawFacts = () => $("facts").append(...data.facts.map(([title, rows]) => h("div", { class: "scroll" }, h("table", null, h("caption", null, title),
    h("tbody", null, ...rows.map(([label, text]) => h("tr", null, h("th", { scope: "row" }, label), h("td", null, text))))))));
  const drawPublished = () => {
    if (!data.mnist) { $("others-section").hidden = $("to-others").hidden = true; return; }
    const cells = (first, parameters, rest, remark) => [h("th", { scope: "row" }, first), h("td", { class: "number" }, parameters ? many(parameters) : ""), ...rest.map((v) => h("td", { class: "number" }, v)), h("td", { class: "remark" }, remark)];
    const ours = `this run${data.measured === "test" ? "" : `, of ${many(data.images)} images kept aside, not the test images`}`;
    $("published").append(
      h("thead", null, h("tr", null, ...["Network", "Parameters", "Epochs", "Digit, %", "Sum, %", "Remark"].map((t, i) => h("th", { scope: "col", class: i && i < 5 ? "plain number" : "plain" }, t)))),
      h("tbody", null, h("tr", { class: "ours" }, ...cells(`Duet, ${network.name}`, network.parameters, [many(data.epochs_ended), last ? percent(last[RIGHT]) : "", last ? percent(last[RIGHT + 1]) : ""], ours)),
        ...data.published.map((p) => h("tr", null, ...cells(`${p.what}, as ${p.preset}`, p.parameters, [p.epochs, p.digit, p.sum].map((v) => (v ? String(v) : "")), p.remark)))));
  };

  /* ---- the page ---- */

  document.title = `Duet: training of ${network.name}`;
  $("title").textContent = `Training of ${network.name}`;
  $("lead").textContent = `${many(network.parameters)} parameters, on ${data.device}; ${data.date}, Duet ${data.version}.`;
  $("about-curves").textContent = "Point at a curve, or go along it with the arrow keys, to read its values. Dotted lines end epochs.";
  $("notes").append(...data.notes.map((text) => h("li", null, text)));
  drawTiles();
  drawCurves();
  drawMistakes();
  drawNetwork();
  drawFacts();
  drawPublished();
  let wide = innerWidth, due = 0;
  addEventListener("resize", () => { if (innerWidth !== wide) { wide = innerWidth; cancelAnimationFrame(due); due = requestAnimationFrame(drawCurves); } });
  page.ready();
})();
