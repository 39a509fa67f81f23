#!/usr/bin/env bash
# Copies the input of the quickstart to the folder that its manifests name. May be repeated.
set -euo pipefail
cd "$(dirname "$0")/../../.."

INPUT=/tmp/gradatim-quickstart
if [[ -e "$INPUT" && ! -O "$INPUT" ]]; then
  echo "error: $INPUT belongs to another user: remove it and try again" >&2
  exit 1
fi
mkdir -p "$INPUT"
chmod 700 "$INPUT"
rm -rf "$INPUT/docs"
# Reference and benchmarks stay out, whose tables are for looking up, and the decisions, which are for who changes the code.
find docs -name '*.md' -not -path 'docs/reference/*' -not -path docs/benchmarks.md -not -path 'docs/decisions/*' | while read -r file; do
  mkdir -p "$INPUT/$(dirname "$file")"
  cp "$file" "$INPUT/$file"
done
cp docs/examples/quickstart/questions.jsonl docs/examples/quickstart/tickets.jsonl "$INPUT/"
