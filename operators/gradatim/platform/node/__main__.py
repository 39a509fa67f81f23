"""Entry point of the cluster's first process; `up` starts it in fresh namespaces. Nobody else does."""

import sys

from gradatim.platform.node.inside import main

main(sys.argv[1:])
