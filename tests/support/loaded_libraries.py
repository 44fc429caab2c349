"""What the commands that tests start have loaded already: most of a tiny run's time is imports."""

import importlib
import pkgutil

import linguamap

for name in ("cli.app", "pipeline"):
    importlib.import_module(f"linguamap.{name}")
for module in pkgutil.walk_packages(linguamap.__path__, "linguamap."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in (
    "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama", "transformers.integrations.hub_kernels",
    "lingua", "pandas", "pyarrow.parquet",
):  # fmt: skip
    importlib.import_module(name)
