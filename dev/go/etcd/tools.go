//go:build tools

// Package tools names the command that the local cluster builds from this module.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
)
