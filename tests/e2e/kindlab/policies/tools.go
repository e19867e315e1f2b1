//go:build tools

// Package policies pins the kube-router that kindlab builds: its firewall alone, which makes a node heed NetworkPolicies.
package policies

import (
	_ "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
)
