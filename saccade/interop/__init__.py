"""Exchange with other toolkits: importing published models, and exporting to ONNX and CTranslate2."""
