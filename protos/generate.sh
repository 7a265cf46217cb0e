#!/bin/sh
# Rebuilds protos/gen and the descriptor set from the sources. Run it through `make protos`.
set -eu
cd "$(dirname "$0")"
PYTHON=${PYTHON:-../.venv/bin/python}
BIN=$(dirname "$PYTHON")
# google/api protos are shipped by googleapis-common-protos next to its modules.
GOOGLEAPIS=$("$PYTHON" -c 'import google.api, pathlib; print(pathlib.Path(list(google.api.__path__)[0]).parents[1])')
rm -rf gen
mkdir -p gen ../.build
PATH="$BIN:$PATH" "$PYTHON" -m grpc_tools.protoc -I . -I "$GOOGLEAPIS" \
  --python_out=gen --grpc_python_out=gen --mypy_out=gen --mypy_grpc_out=gen \
  --include_imports --include_source_info --descriptor_set_out=../.build/kawaii.binpb \
  kawaii/*/v1/*.proto
for service in gen/kawaii gen/kawaii/* gen/kawaii/*/v1; do
  [ -d "$service" ] && : >"$service/__init__.py"
done
