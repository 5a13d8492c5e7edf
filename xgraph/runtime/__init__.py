"""The runtime: the only room that knows onnxruntime. Sessions, providers, batches, the plan runner."""
