"""The graph room: the only one that knows onnx_ir. Reads, normalises, walks, rewrites and writes graphs."""
