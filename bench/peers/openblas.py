#!/usr/bin/env python3
"""Duet's four networks as products of matrices in NumPy, whose wheels bring OpenBLAS: run it with build/peers/bin/python.

Convolutions gather their windows into a matrix (im2col) and back. A step does what Duet's does: batch picked and
normalised, numbers drawn, forward and backward of both heads, update by Adam (0.01, betas 0.9 and 0.99). Tensors are
channels first, [C][N][H][W], so that no product needs a transposed copy. With --task gemm it multiplies matrices:
network is then "MxNxK".
"""
import os
import sys

import peer

# NumPy reads it when it is imported.
os.environ["OPENBLAS_NUM_THREADS"] = next((sys.argv[i + 1] for i, word in enumerate(sys.argv[:-1]) if word == "--threads"),
                                          str(len(os.sched_getaffinity(0))))
import numpy as np  # noqa: E402


class Tape:
    """Operations as they were done, each with what takes its result's gradient back to its inputs'."""

    def __init__(self):
        self.back = []

    def conv(self, x, layer, kernel, pad):
        weight, bias, grads = layer  # [OC][C*k*k], [OC][1]
        if pad:
            x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        channels, images, height, width = x.shape
        windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))  # [C][N][OH][OW][k][k]
        rows, columns = windows.shape[2:4]
        matrix = np.ascontiguousarray(windows.transpose(0, 4, 5, 1, 2, 3)).reshape(channels * kernel * kernel, -1)
        y = weight @ matrix
        y += bias

        def back(dy, wanted):
            dy = dy.reshape(len(weight), -1)
            np.matmul(dy, matrix.T, out=grads[0])
            dy.sum(1, keepdims=True, out=grads[1])
            if not wanted:
                return None
            dmatrix = (weight.T @ dy).reshape(channels, kernel, kernel, images, rows, columns)
            dx = np.zeros_like(x)
            for i in range(kernel):
                for j in range(kernel):
                    dx[:, :, i:i + rows, j:j + columns] += dmatrix[:, i, j]
            return dx[:, :, pad:height - pad, pad:width - pad]
        self.back.append(back)
        return y.reshape(-1, images, rows, columns)

    def dense(self, x, layer):
        """x [features][N]"""
        weight, bias, grads = layer
        y = weight @ x
        y += bias

        def back(dy, wanted):
            np.matmul(dy, x.T, out=grads[0])
            dy.sum(1, keepdims=True, out=grads[1])
            return weight.T @ dy if wanted else None
        self.back.append(back)
        return y

    def relu(self, x):
        y = np.maximum(x, 0)
        self.back.append(lambda dy, wanted: dy * (y > 0))
        return y

    def pool(self, x):
        channels, images, height, width = x.shape
        corners = np.stack([x[:, :, i:height // 2 * 2:2, j:width // 2 * 2:2] for i in (0, 1) for j in (0, 1)])
        which = corners.argmax(0)

        def back(dy, wanted):
            dx = np.zeros_like(x)
            for corner in range(4):
                i, j = divmod(corner, 2)
                dx[:, :, i:height // 2 * 2:2, j:width // 2 * 2:2] = dy * (which == corner)
            return dx
        self.back.append(back)
        return corners.max(0)

    def flatten(self, x):
        shape = x.shape  # [C][N][H][W] to [C*H*W][N]
        self.back.append(lambda dy, wanted: dy.reshape(shape[0], shape[2], shape[3], shape[1]).transpose(0, 3, 1, 2))
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(-1, shape[1])

    def run_back(self, dy, wanted=True):
        """The gradient of the first input; not of the image, when not `wanted`."""
        while self.back:
            dy = self.back.pop()(dy, wanted or bool(self.back))
        return dy


# Trunk: (op, units or channels, kernel, pad); then what the sum's head reads, and its hidden units.
NETWORKS = {
    "fast": ([("conv", 24, 5, 0), "pool", "relu", ("conv", 32, 3, 0), "pool", "relu", "flatten", ("dense", 256), "relu"], "digit", 64),
    "reference": ([("conv", 32, 3, 1), "relu", ("conv", 64, 3, 1), "pool", "relu", ("conv", 128, 3, 1), "relu",
                   ("conv", 256, 3, 1), "pool", "relu", ("conv", 512, 3, 0), "relu", ("conv", 1024, 3, 0), "relu", "flatten"],
                  "digit", 128),
    "add": ([("conv", 6, 5, 0), "pool", "relu", ("conv", 12, 5, 0), "pool", "relu", "flatten", ("dense", 120), "relu",
             ("dense", 60), "relu"], "add", 0),
    "mlp": (["flatten", ("dense", 256), "relu", ("dense", 128), "relu"], "features", 64)}


class Network:
    def __init__(self, name):
        trunk, self.kind, hidden = NETWORKS[name]
        self.random, self.layers, shape = np.random.default_rng(1), [], (1, 28, 28)
        self.trunk = []  # (op, layer or None, kernel, pad)
        for op in trunk:
            word, *rest = [op] if isinstance(op, str) else op
            layer, kernel, pad = None, 0, 0
            if word == "conv":
                units, kernel, pad = rest
                layer = self.layer(units, shape[0] * kernel * kernel)
                shape = (units, *(side + 2 * pad - kernel + 1 for side in shape[1:]))
            elif word == "dense":
                layer, shape = self.layer(rest[0], shape[0]), (rest[0],)
            elif word == "pool":
                shape = (shape[0], shape[1] // 2, shape[2] // 2)
            elif word == "flatten":
                shape = (int(np.prod(shape)),)
            self.trunk.append((word, layer, kernel, pad))
        features = shape[0]
        self.digit = self.layer(peer.CLASSES, features)
        if self.kind == "add":
            self.sums = [self.layer(peer.SUMS, features), self.layer(peer.SUMS, peer.CLASSES)]
        else:
            read = features if self.kind == "features" else peer.CLASSES
            self.sums = [self.layer(hidden, read + peer.CLASSES), self.layer(peer.SUMS, hidden)]
        self.settle()

    def layer(self, units, inputs):
        self.layers.append((units, inputs))
        return len(self.layers) - 1

    def settle(self):
        """All parameters in one flat array, and likewise gradients and moments: the update is a few passes."""
        total = sum(units * inputs + units for units, inputs in self.layers)
        self.flat, self.gradients, self.moment1, self.moment2 = (np.zeros(total, np.float32) for _ in range(4))
        self.views, at, self.steps = [], 0, 0
        for units, inputs in self.layers:
            bound = inputs ** -0.5
            count = units * inputs
            self.flat[at:at + count + units] = self.random.uniform(-bound, bound, count + units)
            def view(of):
                return of[at:at + count].reshape(units, inputs), of[at + count:at + count + units].reshape(units, 1)
            self.views.append((*view(self.flat), view(self.gradients)))
            at += count + units

    def forward(self, image, number):
        """image [1][N][28][28], number [10][N] one-hot; the logits [10][N] and [19][N], and the tapes of trunk and heads."""
        trunk, digit, total = Tape(), Tape(), Tape()
        x = image
        for word, layer, kernel, pad in self.trunk:
            if word == "conv":
                x = trunk.conv(x, self.views[layer], kernel, pad)
            elif word == "dense":
                x = trunk.dense(x, self.views[layer])
            else:
                x = getattr(trunk, word)(x)
        logits = digit.dense(x, self.views[self.digit])
        if self.kind == "add":
            weight, bias, grads = self.views[self.sums[1]]
            other = Tape()
            sums = total.dense(x, self.views[self.sums[0]]) + other.dense(number, self.views[self.sums[1]])
            return logits, sums, (trunk, digit, total, other)
        read = np.concatenate([x if self.kind == "features" else logits, number])
        hidden = total.relu(total.dense(read, self.views[self.sums[0]]))
        return logits, total.dense(hidden, self.views[self.sums[1]]), (trunk, digit, total, None)

    def backward(self, tapes, ddigit, dsum):
        trunk, digit, total, other = tapes
        if other:
            other.run_back(dsum, False)
        dread = total.run_back(dsum)
        if self.kind == "digit":
            ddigit = ddigit + dread[:peer.CLASSES]
        dx = digit.run_back(ddigit)
        if self.kind == "add":
            dx = dx + dread
        elif self.kind == "features":
            dx = dx + dread[:len(dx)]
        trunk.run_back(dx, False)

    def update(self, rate=0.01, beta1=0.9, beta2=0.99, epsilon=1e-8):
        self.steps += 1
        self.moment1 += (1 - beta1) * (self.gradients - self.moment1)
        self.moment2 += (1 - beta2) * (self.gradients * self.gradients - self.moment2)
        scale = np.sqrt(self.moment2 / np.float32(1 - beta2 ** self.steps))
        scale += epsilon
        self.flat -= np.float32(rate / (1 - beta1 ** self.steps)) * self.moment1 / scale


def cross_entropy(logits, target):
    """The mean loss, and its gradient; logits [classes][N]."""
    shifted = logits - logits.max(0)
    exponentials = np.exp(shifted)
    sums = exponentials.sum(0)
    lanes = np.arange(len(target))
    loss = float(np.mean(np.log(sums) - shifted[target, lanes]))
    gradient = exponentials / sums
    gradient[target, lanes] -= 1
    return loss, gradient / np.float32(len(target))


class Trainer:
    def __init__(self, args):
        images, labels = peer.mnist()
        self.images = np.frombuffer(images, np.uint8).reshape(-1, 28, 28)
        self.labels = np.frombuffer(labels, np.uint8).astype(np.int64)
        self.batch, self.random, self.network = args.batch, np.random.default_rng(1), Network(args.network)
        self.order, self.next, self.loss = None, len(self.labels), None
        if args.batch > len(self.labels):
            raise SystemExit(f"openblas: batch {args.batch} is more than the {len(self.labels)} images")

    def inputs(self, samples):
        image = ((self.images[samples] * np.float32(1 / 255) - np.float32(peer.MEAN)) * np.float32(1 / peer.DEVIATION))[None]
        number = self.random.integers(peer.CLASSES, size=len(samples))
        return image, number, np.eye(peer.CLASSES, dtype=np.float32)[:, number]

    def step(self):
        if self.next + self.batch > len(self.labels):  # whole batches only, in a new order each epoch
            self.order, self.next = self.random.permutation(len(self.labels)), 0
        samples = self.order[self.next:self.next + self.batch]
        self.next += self.batch
        image, number, one_hot = self.inputs(samples)
        digit, total, tapes = self.network.forward(image, one_hot)
        loss_digit, ddigit = cross_entropy(digit, self.labels[samples])
        loss_sum, dsum = cross_entropy(total, self.labels[samples] + number)
        self.network.backward(tapes, ddigit / 2, dsum / 2)
        self.network.update()
        self.loss = (loss_digit + loss_sum) / 2

    def infer(self):
        image, _, one_hot = self.inputs(np.arange(self.batch))
        digit, total, _ = self.network.forward(image, one_hot)
        return digit.argmax(0), total.argmax(0)


def product(text):
    """A function that multiplies, of two matrices "MxNxK" of small random numbers."""
    m, n, k = (int(word) for word in text.split("x"))
    random = np.random.default_rng(1)
    a, b = random.uniform(-1, 1, (m, k)).astype(np.float32), random.uniform(-1, 1, (k, n)).astype(np.float32)
    c = np.empty((m, n), np.float32)
    return lambda: np.matmul(a, b, out=c)


def main():
    is_gemm = "gemm" in sys.argv
    args = peer.options("Times Duet's networks as products of matrices by OpenBLAS.", None if is_gemm else list(NETWORKS),
                        ["default"], ["step", "infer", "gemm"])
    peer.keep_memory()
    about = {"peer": "openblas", "version": f"NumPy {np.__version__}", "optimizer": "adam"}
    if is_gemm:
        peer.serve(args, about, product(args.network), lambda: None)
        return
    trainer = Trainer(args)
    about["parameters"] = len(trainer.network.flat)
    peer.serve(args, about, trainer.step if args.task == "step" else trainer.infer, lambda: trainer.loss)


if __name__ == "__main__":
    main()
