#!/usr/bin/env python3
"""Duet's four networks in PyTorch on the CPU, as fast as PyTorch offers: run it with build/peers/bin/python.

A step does what Duet's does: it picks the batch from the images on the device (uint8), normalises it, draws the
numbers, runs forward and backward of both heads and updates (Adam 0.01, betas 0.9 and 0.99).
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

import peer

MODES = ["eager", "channels_last", "compile", "compile_channels_last"]


def pooled(*layers):
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.ReLU())  # ReLU after the maximum: the same values, a quarter of the work


def conv(inputs, outputs, kernel, pad=0):
    return nn.Conv2d(inputs, outputs, kernel, padding=pad)


def hidden(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU())


class Network(nn.Module):
    """`trunk`: image to features; `digit`: features to logits; `head`: (features, logits, one-hot number) to the sum's."""

    def __init__(self, trunk, digit, sum_layers, head):
        super().__init__()
        self.trunk, self.digit, self.sum_layers, self.head = trunk, digit, sum_layers, head

    def forward(self, image, number):
        features = self.trunk(image)
        digit = self.digit(features)
        return digit, self.head(self.sum_layers, features, digit, number)


def from_digit(layers, features, digit, number):
    return layers(torch.cat([digit, number], 1))


def from_features(layers, features, digit, number):
    return layers(torch.cat([features, number], 1))


def added(layers, features, digit, number):
    return layers[0](features) + layers[1](number)


def fast():
    trunk = nn.Sequential(pooled(conv(1, 24, 5)), pooled(conv(24, 32, 3)), nn.Flatten(), hidden(800, 256))
    return Network(trunk, nn.Linear(256, 10), nn.Sequential(hidden(20, 64), nn.Linear(64, 19)), from_digit)


def reference():
    trunk = nn.Sequential(conv(1, 32, 3, 1), nn.ReLU(), pooled(conv(32, 64, 3, 1)), conv(64, 128, 3, 1), nn.ReLU(),
                          pooled(conv(128, 256, 3, 1)), conv(256, 512, 3), nn.ReLU(), conv(512, 1024, 3), nn.ReLU())
    digit = nn.Sequential(conv(1024, 10, 3), nn.Flatten())
    return Network(trunk, digit, nn.Sequential(hidden(20, 128), nn.Linear(128, 19)), from_digit)


def add():
    trunk = nn.Sequential(pooled(conv(1, 6, 5)), pooled(conv(6, 12, 5)), nn.Flatten(), hidden(192, 120), hidden(120, 60))
    return Network(trunk, nn.Linear(60, 10), nn.ModuleList([nn.Linear(60, 19), nn.Linear(10, 19)]), added)


def mlp():
    trunk = nn.Sequential(nn.Flatten(), hidden(784, 256), hidden(256, 128))
    return Network(trunk, nn.Linear(128, 10), nn.Sequential(hidden(138, 64), nn.Linear(64, 19)), from_features)


NETWORKS = {"fast": fast, "reference": reference, "add": add, "mlp": mlp}


class Trainer:
    def __init__(self, args):
        images, labels = peer.mnist()
        self.images = torch.frombuffer(images, dtype=torch.uint8).view(-1, 1, 28, 28)  # [60000][1][28][28]
        self.labels = torch.frombuffer(labels, dtype=torch.uint8).long()
        self.batch, self.next, self.order, self.loss = args.batch, len(self.labels), None, None
        if args.batch > len(self.labels):
            raise SystemExit(f"pytorch: batch {args.batch} is more than the {len(self.labels)} images")
        self.layout = torch.channels_last if args.mode.endswith("channels_last") else torch.contiguous_format
        self.network = NETWORKS[args.network]().to(memory_format=self.layout)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.01, betas=(0.9, 0.99), fused=True)
        self.forward = torch.compile(self.losses) if args.mode.startswith("compile") else self.losses

    def losses(self, samples, number):
        """The mean of the two cross-entropies; samples and number: [batch]."""
        image = (self.images[samples].float() / 255 - peer.MEAN) / peer.DEVIATION
        label = self.labels[samples]
        digit, total = self.network(image.contiguous(memory_format=self.layout), F.one_hot(number, peer.CLASSES).float())
        return (F.cross_entropy(digit, label) + F.cross_entropy(total, label + number)) / 2

    def step(self):
        if self.next + self.batch > len(self.labels):  # whole batches only, in a new order each epoch
            self.order, self.next = torch.randperm(len(self.labels)), 0
        samples = self.order[self.next:self.next + self.batch]
        self.next += self.batch
        self.loss = self.forward(samples, torch.randint(peer.CLASSES, (self.batch,)))
        self.loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def main():
    args = peer.options("Times PyTorch's training steps of one of Duet's networks on the CPU.", list(NETWORKS), MODES)
    peer.keep_memory()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    trainer = Trainer(args)
    about = {"peer": "pytorch", "version": torch.__version__, "optimizer": "adam, fused",
             "parameters": sum(p.numel() for p in trainer.network.parameters())}
    peer.serve(args, about, trainer.step, lambda: trainer.loss.item())


if __name__ == "__main__":
    main()
