/* A drawing in the form of MNIST's pictures: datasets/picture.c again, step by step, so that a drawing saved as PNG is the
   same picture for `duet predict` (docs/formats.md). */
const fitPicture = (() => {
  const LEAST_CONTRAST = 16; /* levels that ink must stand out by */
  const DEVIATIONS = 6; /* median absolute deviations of the border that are still paper */
  const FAINT = 32; /* ink of less than 1 / FAINT of the strongest sets no box */
  const MNIST_SIDE = 28, MNIST_BOX = 20;

  const median = (counts) => {
    const total = counts.reduce((a, b) => a + b, 0);
    let below = 0;
    return counts.findIndex((n) => (below += n) * 2 >= total);
  };

  /* level[v]: how much ink a pixel of value v is; null when nothing stands out. */
  const findInk = ({ grey, height, width }) => {
    const border = new Array(256).fill(0), away = new Array(256).fill(0);
    for (let y = 0; y < height; y++) {
      const step = y === 0 || y === height - 1 || width === 1 ? 1 : width - 1;
      for (let x = 0; x < width; x += step) border[grey[y * width + x]]++;
    }
    let darkest = 255, lightest = 0;
    for (const v of grey) { darkest = Math.min(darkest, v); lightest = Math.max(lightest, v); }
    const paper = median(border);
    border.forEach((n, v) => { away[Math.abs(v - paper)] += n; });
    const sign = 2 * paper > darkest + lightest ? -1 : 1, noise = DEVIATIONS * median(away);
    const strongest = sign < 0 ? paper - darkest : lightest - paper;
    if (strongest < LEAST_CONTRAST || strongest <= noise) return null;
    const level = border.map((_, v) => (sign * (v - paper) > noise ? sign * (v - paper) : 0));
    return { level, faint: Math.trunc(strongest / FAINT) };
  };

  const findBox = ({ grey, height, width }, { level, faint }) => {
    let top = height, bottom = -1, left = width, right = -1;
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        if (level[grey[y * width + x]] <= faint) continue;
        top = Math.min(top, y); bottom = y;
        left = Math.min(left, x); right = Math.max(right, x);
      }
    return { top, left, height: bottom - top + 1, width: right - left + 1 };
  };

  /* [cell, share] for the cells that a pixel, [at, at + 1) * scale, overlaps. */
  const overlaps = (at, scale, cells) => {
    const begin = at * scale, end = (at + 1) * scale, list = [];
    for (let cell = Math.trunc(begin); cell < cells && cell < end; cell++)
      list.push([cell, Math.min(end, cell + 1) - Math.max(begin, cell)]);
    return list;
  };

  const cellsOf = (length, scale, most) => Math.min(Math.max(Math.ceil(length * scale - 1e-6), 1), most);

  /* The mean ink of every cell, [rows][columns]. */
  const scaleBox = ({ grey, width }, { level }, box, scale, rows, columns) => {
    const scaled = new Float64Array(rows * columns), line = new Float64Array(columns);
    const across = Array.from({ length: box.width }, (_, x) => overlaps(x, scale, columns));
    for (let y = 0; y < box.height; y++) {
      line.fill(0);
      for (let x = 0; x < box.width; x++) {
        const ink = level[grey[(box.top + y) * width + box.left + x]];
        if (ink > 0) for (const [cell, share] of across[x]) line[cell] += share * ink;
      }
      for (const [cell, share] of overlaps(y, scale, rows))
        for (let x = 0; x < columns; x++) scaled[cell * columns + x] += share * line[x];
    }
    return scaled;
  };

  /* Where cells begin so that their centre of mass falls into the pixel right of (below) the middle. */
  const place = (mean, cells, side) => Math.min(Math.max(Math.ceil(Math.trunc(side / 2) - mean - 1e-6), 0), side - cells);

  const centre = (scaled, rows, columns, height, width) => {
    let most = 0, mass = 0, meanY = 0, meanX = 0;
    scaled.forEach((v, i) => {
      most = Math.max(most, v);
      mass += v;
      meanY += v * (Math.trunc(i / columns) + 0.5);
      meanX += v * ((i % columns) + 0.5);
    });
    const top = place(meanY / mass, rows, height), left = place(meanX / mass, columns, width);
    const image = new Uint8Array(height * width);
    scaled.forEach((v, i) => { image[(top + Math.trunc(i / columns)) * width + left + (i % columns)] = Math.round((v * 255) / most); });
    return image;
  };

  /* `picture` is {grey, height, width}, a byte a pixel, either ink dark or paper; the result Uint8Array [height][width],
     0 background to 255 ink, or null when nothing stands out. */
  return (picture, height, width) => {
    const ink = findInk(picture);
    if (!ink) return null;
    const box = findBox(picture, ink), side = (length) => Math.max(1, Math.round((MNIST_BOX * length) / MNIST_SIDE));
    const high = side(height), wide = side(width), scale = Math.min(high / box.height, wide / box.width);
    const rows = cellsOf(box.height, scale, high), columns = cellsOf(box.width, scale, wide);
    return centre(scaleBox(picture, ink, box, scale, rows, columns), rows, columns, height, width);
  };
})();
