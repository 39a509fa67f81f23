#!/usr/bin/env bash
# What `make demo` runs: the steps of docs/getting-started.md, one after another.
set -euo pipefail
cd "$(dirname "$0")/../../.."

GRADATIM=.venv/bin/gradatim
STATE="${GRADATIM_CACHE:-$HOME/.cache/gradatim}/demo"
INPUT=/tmp/gradatim-quickstart

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

docs/examples/quickstart/prepare.sh

say "1. Start the local platform (the first time it compiles its servers: some minutes)"
"$GRADATIM" up --state "$STATE" --allow-source "$INPUT"

say "2. Apply docs/examples/quickstart: a Dataset and a RAGIndex"
"$GRADATIM" apply --state "$STATE" -f docs/examples/quickstart

say "3. Wait: seventy-one tickets are validated, the documentation is indexed and evaluated"
"$GRADATIM" wait --state "$STATE" dataset support-tickets --timeout 10m
"$GRADATIM" wait --state "$STATE" ragindex gradatim-docs --timeout 10m

say "4. Ask"
echo "For each question the best passage: its file and characters, a score from 0 to 1, and the text as it is written there."
"$GRADATIM" index query --state "$STATE" gradatim-docs -k 1 \
  "How do I go back to an earlier version of an index?" \
  "What happens to rows that fail validation?" \
  "How do I search only documents of one department?"

say "5. What was measured, and what was rejected"
"$GRADATIM" metrics --state "$STATE" ragindex gradatim-docs
"$GRADATIM" get --state "$STATE" dataset
"$GRADATIM" get --state "$STATE" ragindex

say "Where to look next"
cat <<EOF
  The gates of this index look at recall@10 and ndcg@10: docs/guides/evaluation-and-gates.md.
  The platform goes on running. Try:
    export GRADATIM_STATE=$STATE${KUBECONFIG:+ KUBECONFIG=$STATE/kubeconfig}
    $GRADATIM describe dataset support-tickets    # which rows were rejected, and why
    $GRADATIM describe ragindex gradatim-docs     # conditions, gates, versions
    $GRADATIM index query gradatim-docs "your question" --explain
  kubectl works too:
    KUBECONFIG=$STATE/kubeconfig kubectl get ragindices
  Documentation: docs/index.md. Stop and clean up: make demo-down
EOF
