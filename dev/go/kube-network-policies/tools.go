//go:build tools

// Package tools names the command that the local cluster builds from this module.
package tools

import (
	_ "sigs.k8s.io/kube-network-policies/cmd"
)
