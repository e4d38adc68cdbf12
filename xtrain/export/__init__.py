"""A trained model in the formats of others: the files of frameworks, safetensors, ONNX."""
