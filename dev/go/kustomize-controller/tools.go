//go:build tools

package main

// Built from this module as well; named here so that `go mod tidy` keeps what it needs.
import (
	_ "github.com/fluxcd/kustomize-controller"
)
