#!/usr/bin/env python3
"""Duet's network `fast` in tinygrad, by its C compiler (CPU) or by OpenCL (CL): run it with build/peers/bin/python.

A step does what Duet's does: it picks the batch from the images on the device (uint8), normalises it, draws the
numbers, runs forward and backward of both heads and updates (Adam 0.01, betas 0.9 and 0.99), as one captured graph.
"""
import importlib.metadata
import os
import random

import peer

args = peer.options("Times tinygrad's training steps of Duet's network `fast`.", ["fast"], ["CPU", "CL"])
os.environ |= {"DEV": args.mode, "CPU_COUNT": str(args.threads), "TRAINING": "1" if args.task == "step" else "0"}  # tinygrad reads them when imported
from tinygrad import Device, Tensor, TinyJit, dtypes, nn  # noqa: E402


class Fast:
    def __init__(self):
        self.conv1, self.conv2 = nn.Conv2d(1, 24, 5), nn.Conv2d(24, 32, 3)
        self.fc1, self.digit, self.sum1, self.sum = nn.Linear(800, 256), nn.Linear(256, 10), nn.Linear(20, 64), nn.Linear(64, 19)

    def __call__(self, image, number):
        features = self.conv1(image).max_pool2d().relu()
        features = self.conv2(features).max_pool2d().relu().flatten(1)
        digit = self.digit(self.fc1(features).relu())
        return digit, self.sum(self.sum1(digit.cat(number, dim=1)).relu())


def main():
    peer.keep_memory()
    Tensor.manual_seed(1)
    host, labels = (bytes(data) for data in peer.mnist())
    images, labels = (Tensor(data, dtype=dtypes.uint8).realize() for data in (host, labels))
    zeros = Tensor.zeros(args.batch, dtype=dtypes.int32).contiguous().realize()
    images, count = images.reshape(-1, 1, 28, 28), labels.shape[0]
    network = Fast()
    optimizer = nn.optim.Adam(nn.state.get_parameters(network), lr=0.01, b1=0.9, b2=0.99)
    last = [None]

    @TinyJit
    def captured(samples):
        image = (images[samples].float() / 255 - peer.MEAN) / peer.DEVIATION
        number = Tensor.randint(args.batch, high=peer.CLASSES)
        label = labels[samples].cast(dtypes.int32)
        digit, total = network(image, number.one_hot(peer.CLASSES).float())
        optimizer.zero_grad()
        loss = (digit.sparse_categorical_crossentropy(label) + total.sparse_categorical_crossentropy(label + number)) / 2
        loss.backward()
        return loss.realize(*optimizer.schedule_step())

    @TinyJit
    def guessed(image, number):
        digit, total = network((image.float() / 255 - peer.MEAN) / peer.DEVIATION, number.one_hot(peer.CLASSES).float())
        return digit.argmax(1).realize(), total.argmax(1).realize()

    def infer():
        """From images in host memory to two digits each in host memory."""
        image = Tensor(host[:args.batch * peer.PIXELS], dtype=dtypes.uint8).reshape(-1, 1, 28, 28).realize()
        return [guess.numpy() for guess in guessed(image, zeros)]

    def step():
        last[0] = captured(Tensor(random.sample(range(count), args.batch), dtype=dtypes.int32).realize())
        Device[Device.DEFAULT].synchronize()

    about = {"peer": "tinygrad", "version": importlib.metadata.version("tinygrad"), "optimizer": "adam",
             "parameters": sum(p.numel() for p in nn.state.get_parameters(network))}
    peer.serve(args, about, step if args.task == "step" else infer, lambda: None if last[0] is None else last[0].item())


if __name__ == "__main__":
    main()
