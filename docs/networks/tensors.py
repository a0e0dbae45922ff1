"""Reads and writes safetensors files: a tensor is a pair of its shape and its values as array('f'), rows one after the other."""
import array
import json
import math
import struct
import sys


def read(path):
    """The tensors of a file by name, in the file's order, without its metadata."""
    with open(path, "rb") as file:
        content = file.read()
    length, = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, of in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        if of["dtype"] != "F32":
            raise ValueError(f"{path}: tensor {name}: {of['dtype']}, not F32")
        begin, end = of["data_offsets"]
        values = array.array("f", content[8 + length + begin:8 + length + end])
        if sys.byteorder == "big":
            values.byteswap()
        tensors[name] = (of["shape"], values)
    return tensors


def write(path, tensors):
    """Writes what read() gives, without metadata, as another program would."""
    header, offset = {}, 0
    for name, (shape, values) in tensors.items():
        if len(values) != math.prod(shape):
            raise ValueError(f"{path}: tensor {name}: {len(values)} values for shape {shape}")
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + 4 * len(values)]}
        offset += 4 * len(values)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, values in tensors.values():
            little = array.array("f", values)
            if sys.byteorder == "big":
                little.byteswap()
            file.write(little.tobytes())
