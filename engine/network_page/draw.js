(() => {
  const { $, h, data } = page;
  const octets = atob($("parameters").textContent.trim()), bytes = new Uint8Array(octets.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = octets.charCodeAt(i);
  const network = createNetwork(data, new Float32Array(bytes.buffer));
  const [, HEIGHT, WIDTH] = network.layers[0].shape;

  const count = (n) => n.toLocaleString("en");
  const percent = (p, digits = 1) => `${(100 * p).toFixed(digits)}\u00a0%`;
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;

  /* ---- the drawing: bytes, black ink on white paper, shown by the canvas ---- */

  const SIDE = $("drawing").width, RADIUS = SIDE / 25;
  const grey = new Uint8Array(SIDE * SIDE).fill(255);
  const canvas = $("drawing"), context = canvas.getContext("2d");
  const shown = context.createImageData(SIDE, SIDE);
  shown.data.fill(255);

  /* Ink along the way from a to b, each [x, y], as wide as the pen, its edge softened over a pixel. */
  const draw = ([ax, ay], [bx, by]) => {
    const dx = bx - ax, dy = by - ay, square = dx * dx + dy * dy, reach = RADIUS + 1;
    const left = Math.max(0, Math.floor(Math.min(ax, bx) - reach)), right = Math.min(SIDE - 1, Math.ceil(Math.max(ax, bx) + reach));
    const top = Math.max(0, Math.floor(Math.min(ay, by) - reach)), bottom = Math.min(SIDE - 1, Math.ceil(Math.max(ay, by) + reach));
    for (let y = top; y <= bottom; y++)
      for (let x = left; x <= right; x++) {
        const px = x + 0.5 - ax, py = y + 0.5 - ay, along = square ? Math.min(Math.max((px * dx + py * dy) / square, 0), 1) : 0;
        const ink = RADIUS + 0.5 - Math.hypot(px - along * dx, py - along * dy), at = y * SIDE + x;
        const paper = Math.round(255 * (1 - Math.min(Math.max(ink, 0), 1)));
        if (paper >= grey[at]) continue;
        grey[at] = paper;
        shown.data.fill(paper, 4 * at, 4 * at + 3);
      }
    if (right >= left && bottom >= top) context.putImageData(shown, 0, 0, left, top, right - left + 1, bottom - top + 1);
    changed();
  };

  let isExample = false, frame = 0; /* of the example's animation */
  const clear = () => {
    cancelAnimationFrame(frame);
    isExample = false;
    $("hint").hidden = true;
    grey.fill(255);
    shown.data.fill(255);
    context.putImageData(shown, 0, 0);
    changed();
  };
  const begin = () => { if (isExample) clear(); }; /* before an own stroke */

  /* ---- what the network says ---- */

  let number = 5, pixels = null, answer = null, due = 0, slow = 0, spoken = 0;

  const barsOf = (head) => Array.from(network.layers[data.heads[head]].value, (_, i) => {
    const value = h("span", { class: "value" }), level = h("span", { class: "level" });
    const bar = h("span", { class: "bar" }, h("span", { class: "room" }, value, level), h("span", { class: "label" }, String(i)));
    return { bar, value, level };
  });
  const heads = [["digit", barsOf(0)], ["sum", barsOf(1)]];
  for (const [name, bars] of heads) $(`${name}-bars`).append(...bars.map((b) => b.bar));

  const best = (probabilities) => probabilities.reduce((most, p, i) => (p > probabilities[most] ? i : most), 0);
  const isNumber = (probabilities) => probabilities.every(Number.isFinite);

  const showHead = ([name, bars]) => {
    const probabilities = answer && isNumber(answer[name]) ? answer[name] : null, most = probabilities && best(probabilities);
    bars.forEach(({ bar, value, level }, i) => {
      const p = probabilities ? probabilities[i] : 0;
      level.style.height = `${(p * 6) / 7 * 100}%`;
      value.textContent = p >= 0.005 ? Math.round(100 * p) : "";
      bar.classList.toggle("best", i === most);
    });
    $(name).textContent = probabilities ? most : "?";
    const order = probabilities ? probabilities.map((p, i) => [p, i]).sort(([p], [q]) => q - p).slice(0, 3) : [];
    $(`${name}-bars`).setAttribute("aria-label", probabilities ? `Most probable ${name}: ${order.map(([p, i]) => `${i}, ${percent(p)}`).join("; ")}` : `No ${name} yet`);
  };

  const sentence = () => {
    if (!answer) return "Draw a digit: the network names it, and its sum with the number.";
    const { digit, sum } = answer;
    if (!isNumber(digit) || !isNumber(sum)) return "Its predictions are no numbers: its parameters overflowed in training.";
    const d = best(digit), s = best(sum);
    const words = `Digit ${d} with ${percent(digit[d])}, sum ${s} with ${percent(sum[s])}.`;
    return d + number === s ? words : `${words} The two heads disagree.`;
  };
  /* To a screen reader: at once, or once it has stayed for a moment. */
  const announce = (words) => {
    clearTimeout(spoken);
    $("live").textContent = words;
  };
  const announceSoon = (words) => {
    clearTimeout(spoken);
    spoken = setTimeout(announce, 600, words);
  };

  const show = () => {
    heads.forEach(showHead);
    $("number").textContent = number;
    $("words").textContent = sentence();
    announceSoon(sentence());
    showSeen();
    showMaps();
    page.ready();
  };
  const predict = () => {
    due = 0;
    const start = performance.now();
    pixels = fitPicture({ grey, height: SIDE, width: SIDE }, HEIGHT, WIDTH);
    answer = pixels && network.predict(pixels, number);
    slow = performance.now() - start;
    show();
  };
  /* At the next frame; of a large network, once the hand rests. */
  const changed = () => {
    const SMOOTH = 40, REST = 120; /* ms */
    document.documentElement.dataset.ready = "no";
    if (slow > SMOOTH) {
      clearTimeout(due);
      due = setTimeout(predict, REST);
    } else if (!due) {
      due = requestAnimationFrame(predict);
    }
  };

  /* ---- inside: the picture as it goes in, and the first layer ---- */

  const paint = (target, height, width, colour) => {
    Object.assign(target, { width, height });
    const image = new ImageData(width, height);
    for (let i = 0; i < height * width; i++) image.data.set(colour(i), 4 * i);
    target.getContext("2d").putImageData(image, 0, 0);
  };

  const showSeen = () => paint($("seen"), HEIGHT, WIDTH, (i) => { const v = pixels ? pixels[i] : 0; return [v, v, v, 255]; });

  /* The first layer of weights that sees the picture, and the last of the pointwise ones right behind it. */
  const [first, activation] = (() => {
    const seeing = new Set([network.layers[0]]);
    let weights = null, behind = null;
    for (const layer of network.layers) {
      if (!layer.inputs.some((x) => seeing.has(x))) continue;
      seeing.add(layer);
      if (!weights && layer.weight && layer.op !== "batch_norm") weights = behind = layer;
      else if (behind && layer.inputs[0] === behind && ["batch_norm", "relu", "dropout"].includes(layer.op)) behind = layer;
    }
    return [weights || network.layers[0], behind || network.layers[0]]; /* a network may have none */
  })();
  const MOST_MAPS = 128, STRIP = 32; /* values of a strip in a row */

  /* Colours between those of the legend, by value / most. */
  const colours = () => {
    const [minus, zero, plus] = ["minus", "zero", "plus"].map((id) => getComputedStyle($(id)).backgroundColor.match(/[\d.]+/g).slice(0, 3).map(Number));
    return (share) => {
      const end = share < 0 ? minus : plus, weight = Math.min(Math.abs(share) || 0, 1) ** 0.6;
      return [...zero.map((z, i) => z + weight * (end[i] - z)), 255];
    };
  };
  const [C, H, W] = activation.shape, isStrip = H * W === 1;
  const maps = Array.from({ length: isStrip ? 1 : Math.min(C, MOST_MAPS) }, () => document.createElement("canvas"));
  const showMaps = () => {
    const colour = colours(), value = answer ? activation.value : new Float32Array(C * H * W);
    const most = value.reduce((a, v) => Math.max(a, Math.abs(v)), 0) || 1;
    if (isStrip) paint(maps[0], Math.ceil(C / STRIP), Math.min(C, STRIP), (i) => colour(i < C ? value[i] / most : 0));
    else maps.forEach((map, c) => paint(map, H, W, (i) => colour(value[c * H * W + i] / most)));
  };
  $("maps").append(...maps);
  $("maps").classList.toggle("strip", isStrip);
  $("maps-title").textContent = `First layer: ${first.name}`;
  $("maps-about").textContent = isStrip ? `${count(C)} activations` : `${count(C)} feature maps of ${H}×${W}${maps.length < C ? `, the first ${maps.length}` : ""}`;
  $("maps").setAttribute("aria-label", `${$("maps-about").textContent} of ${first.name}`);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showMaps);
  $("theme").addEventListener("click", showMaps); /* after the colours have changed */

  /* ---- pointers ---- */

  let pointer = null, last = null;
  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * SIDE) / box.width, ((event.clientY - box.top) * SIDE) / box.height];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    begin();
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer);
    last = placeOf(event);
    draw(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const way = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const step of way.length ? way : [event]) {
      const next = placeOf(step);
      draw(last, next);
      last = next;
    }
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, (event) => { if (event.pointerId === pointer) pointer = null; });

  /* ---- keys ---- */

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const held = new Set();
  let pen = [SIDE / 2, SIDE / 2], isDown = false;
  const showPen = () => {
    $("pen").classList.toggle("down", isDown);
    $("pen").style.left = `${(100 * pen[0]) / SIDE}%`;
    $("pen").style.top = `${(100 * pen[1]) / SIDE}%`;
  };
  const setPen = (down) => {
    if (isDown === down) return;
    isDown = down;
    if (down) { begin(); draw(pen, pen); }
    showPen();
    announce(down ? "Pen down." : "Pen up.");
  };
  const movePen = (small) => {
    const step = SIDE / (small ? 112 : 28), inside = (v) => Math.min(Math.max(v, 0), SIDE);
    const [dx, dy] = [...held].reduce(([x, y], key) => [x + ARROWS[key][0], y + ARROWS[key][1]], [0, 0]);
    const next = [inside(pen[0] + dx * step), inside(pen[1] + dy * step)];
    if (isDown) draw(pen, next);
    pen = next;
    showPen();
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key in ARROWS) { held.add(event.key); movePen(event.shiftKey); }
    else if (event.key === " ") { if (!event.repeat) setPen(!isDown); }
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("keyup", (event) => held.delete(event.key));
  canvas.addEventListener("blur", () => { held.clear(); setPen(false); });

  const wipe = () => {
    clear();
    setPen(false);
    announce("Cleared.");
  };
  const choose = (n) => {
    number = n;
    document.querySelector(`#numbers input[value="${n}"]`).checked = true;
    changed();
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (/^[0-9]$/.test(event.key)) choose(Number(event.key));
    if (event.key === "Delete" || event.key === "Backspace") wipe();
  });

  /* ---- the page ---- */

  for (let n = 0; n < 10; n++) {
    const input = h("input", { type: "radio", name: "number", value: n, onchange: () => choose(n) });
    $("numbers").append(h("label", {}, input, h("span", {}, String(n))));
  }
  $("clear").addEventListener("click", wipe);
  $("save").addEventListener("click", () => h("a", { href: canvas.toDataURL("image/png"), download: "digit.png" }).click());

  const { measured } = data;
  const isKnown = measured && measured.digit !== null && measured.sum !== null;
  $("lead").textContent = `The network ${data.network}, ${count(data.parameters)} parameters` + (isKnown
    ? `: after ${measured.epochs} ${measured.epochs === 1 ? "epoch" : "epochs"} of training right for ${percent(measured.digit, 2)} of the digits and ${percent(measured.sum, 2)} of the sums of its ${measured.on} images.` : ".");
  document.title = `Duet: ${data.network}`;
  $("seen-about").textContent = `${HEIGHT}×${WIDTH}`;

  const optionsOf = (layer) => Object.entries(layer.options).filter(([key]) => key !== "target" && (key !== "pad" || layer.options.pad)).map(([key, value]) => `${key} ${value}`).join(", ");
  const resultOf = (layer) => layer.shape.slice(0, layer.shape[1] * layer.shape[2] === 1 ? 1 : 3).join("×");
  const learnedBy = (layer) => (["weight", "bias"].some((kind) => layer[kind]) ? count(layer.weight.length + layer.bias.length) : "");
  const columns = { op: (l) => l.op, inputs: (l) => l.inputs.map((x) => x.name).join(", "), options: optionsOf, result: resultOf, "values learned": learnedBy };
  const headOf = (name) => h("th", { scope: "col", class: "plain" }, name);
  $("layers").append(h("thead", {}, h("tr", {}, headOf("layer"), ...Object.keys(columns).map(headOf))),
    h("tbody", {}, ...network.layers.filter((l) => l.op !== "cross_entropy").map((l) =>
      h("tr", {}, h("th", { scope: "row" }, l.name), ...Object.values(columns).map((say) => h("td", {}, say(l)))))));

  /* A 3 to begin with, in two arcs; drawn as by a hand where motion is welcome. */
  const showExample = () => {
    const arc = (y, radius, from, to) => Array.from({ length: 24 }, (_, i) => {
      const angle = ((from + ((to - from) * i) / 23) * Math.PI) / 180;
      return [SIDE * (0.47 + 1.05 * radius * Math.cos(angle)), SIDE * (y + radius * Math.sin(angle))];
    });
    const points = [...arc(0.31, 0.15, -160, 80), ...arc(0.635, 0.18, -95, 155)];
    let at = 0;
    const more = () => {
      for (const end = isCalm ? points.length - 1 : at + 1; at < end; at++) draw(points[at], points[at + 1]);
      if (at + 1 < points.length) frame = requestAnimationFrame(more);
    };
    isExample = true;
    more();
  };

  context.putImageData(shown, 0, 0);
  showPen();
  choose(number);
  showExample();

  /* For scripts: pixels [H][W] of 0 background to 255 ink; {grey, height, width} of any drawing as such pixels, or null. */
  window.duet = Object.freeze({
    predict: (image, n) => network.predict(image, n),
    fit: (picture) => fitPicture(picture, HEIGHT, WIDTH),
  });
})();
