module alignment-operator.io/dev/go/source-controller

go 1.25.0

// Its CRDs lie in its folder; nothing of it is built.
require github.com/fluxcd/source-controller v1.7.2
