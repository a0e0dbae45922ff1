/* The network, forward: a function an op, by the names of engine/ops.def. A layer has its `value` [C][H][W] of one picture,
   its `shape`, options and tensors; a function makes the layer's value of its inputs' values. Sums are in double. */
const ops = (() => {
  const EPSILON = 1e-5; /* of batch normalisation, as in kernels/norm.cl */

  /* For each tap of a kernel the results o, first and last, for which o * stride + tap - pad lies in 0...length - 1. */
  const reach = ({ kernel, stride, pad }, length, results) => Array.from({ length: kernel }, (_, tap) =>
    [Math.max(0, Math.ceil((pad - tap) / stride)), Math.min(results - 1, Math.floor((length - 1 + pad - tap) / stride))]);

  /* Each result is window(at, W, value): `at` is the first of its values, W the way from row to row. */
  const pool = (layer, x, window) => {
    const [C, H, W] = x.shape, [, OH, OW] = layer.shape, stride = layer.options.stride;
    for (let c = 0, o = 0; c < C; c++)
      for (let oy = 0; oy < OH; oy++)
        for (let ox = 0; ox < OW; ox++) layer.value[o++] = window((c * H + oy * stride) * W + ox * stride, W, x.value);
  };

  return {
    /* y[oc][oh][ow] = b[oc] + sum w[oc][ic][kh][kw] x[ic][oh S + kh - P][ow S + kw - P] */
    conv(layer, x) {
      const [C, H, W] = x.shape, [OC, OH, OW] = layer.shape, { kernel, stride, pad } = layer.options;
      const { weight, bias } = layer, values = x.value, sums = new Float64Array(OH * OW);
      const rows = reach(layer.options, H, OH), columns = reach(layer.options, W, OW);
      for (let oc = 0, k = 0; oc < OC; oc++) {
        sums.fill(bias[oc]);
        for (let c = 0; c < C; c++)
          for (let kh = 0; kh < kernel; kh++)
            for (let kw = 0; kw < kernel; kw++) {
              const w = weight[k++], [top, bottom] = rows[kh], [left, right] = columns[kw];
              for (let oy = top; oy <= bottom; oy++) {
                let from = (c * H + oy * stride + kh - pad) * W + left * stride + kw - pad;
                for (let o = oy * OW + left; o <= oy * OW + right; o++, from += stride) sums[o] += w * values[from];
              }
            }
        layer.value.set(sums, oc * OH * OW);
      }
    },

    /* y[o] = b[o] + sum w[o][i] x[i] */
    dense(layer, x) {
      const { weight, bias } = layer, values = x.value, count = values.length;
      for (let o = 0, k = 0; o < bias.length; o++) {
        let sum = bias[o];
        for (let i = 0; i < count; i++) sum += weight[k++] * values[i];
        layer.value[o] = sum;
      }
    },

    max_pool(layer, x) {
      const { kernel } = layer.options;
      pool(layer, x, (at, W, value) => {
        let most = value[at];
        for (let kh = 0; kh < kernel; kh++)
          for (let kw = 0; kw < kernel; kw++) most = Math.max(most, value[at + kh * W + kw]);
        return most;
      });
    },

    average_pool(layer, x) {
      const { kernel } = layer.options;
      pool(layer, x, (at, W, value) => {
        let sum = 0;
        for (let kh = 0; kh < kernel; kh++) for (let kw = 0; kw < kernel; kw++) sum += value[at + kh * W + kw];
        return sum / (kernel * kernel);
      });
    },

    relu(layer, x) {
      for (let i = 0; i < x.value.length; i++) layer.value[i] = Math.max(0, x.value[i]);
    },

    /* y = gamma (x - mean) / sqrt(variance + epsilon) + beta by channel, with the running statistics */
    batch_norm(layer, x) {
      const [C, H, W] = x.shape, pixels = H * W;
      for (let c = 0; c < C; c++) {
        const scale = layer.weight[c] / Math.sqrt(layer.running_var[c] + EPSILON);
        for (let i = c * pixels; i < (c + 1) * pixels; i++) layer.value[i] = (x.value[i] - layer.running_mean[c]) * scale + layer.bias[c];
      }
    },

    flatten(layer, x) { layer.value.set(x.value); },
    dropout(layer, x) { layer.value.set(x.value); }, /* nothing, outside of training */

    concat(layer, ...inputs) {
      let at = 0;
      for (const x of inputs) { layer.value.set(x.value, at); at += x.value.length; }
    },

    add(layer, ...inputs) {
      layer.value.fill(0);
      for (const x of inputs) for (let i = 0; i < x.value.length; i++) layer.value[i] += x.value[i];
    },

    input() {}, /* network.predict sets it */
    cross_entropy() {}, /* the loss is no part of a prediction */
  };
})();

const softmax = (logits) => {
  const most = Math.max(...logits), powers = Array.from(logits, (v) => Math.exp(v - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((v) => v / sum);
};

/* `data` is the page's JSON, `parameters` a Float32Array of all tensors. */
const createNetwork = (data, parameters) => {
  const layers = data.layers.map((layer) => {
    const made = { ...layer, value: new Float32Array(layer.shape[0] * layer.shape[1] * layer.shape[2]), changed: false };
    for (const [kind, [first, count]] of Object.entries(layer.tensors)) made[kind] = parameters.subarray(first, first + count);
    return made;
  });
  for (const layer of layers) layer.inputs = layer.inputs.map((i) => layers[i]);
  const [image, number] = layers;

  const set = (input, values) => {
    input.changed = values.some((v, i) => Math.fround(v) !== input.value[i]);
    input.value.set(values);
  };

  /* What both heads say of pixels [H][W], 0 background to 255 ink, and a number 0 to 9: {digit: [classes], sum: [classes + 9]},
     probabilities. Only layers are computed anew that something has changed for. */
  const predict = (pixels, n) => {
    set(image, Array.from(pixels, (v) => (v / 255 - 0.1307) / 0.3081));
    set(number, Array.from(number.value, (_, i) => Number(i === n)));
    for (const layer of layers.slice(2)) {
      layer.changed = layer.inputs.some((x) => x.changed);
      if (layer.changed) ops[layer.op](layer, ...layer.inputs);
    }
    const [digit, sum] = data.heads.map((i) => softmax(layers[i].value));
    return { digit, sum };
  };

  return { layers, predict };
};
