package server

import "github.com/fserve/fserve/server/admit"

// These are of package admit, where they are documented.
type (
	Access      = admit.Access
	ClientField = admit.ClientField
	Networks    = admit.Networks
	Trust       = admit.Trust
)

const (
	ClientFieldAuto      = admit.ClientFieldAuto
	ClientFieldForwarded = admit.ClientFieldForwarded
	ClientFieldXFF       = admit.ClientFieldXFF
)

// ParseNetworks is admit.ParseNetworks.
func ParseNetworks(list []string) (Networks, error) { return admit.ParseNetworks(list) }

// ParseTrust is admit.ParseTrust.
func ParseTrust(list []string) (Trust, error) { return admit.ParseTrust(list) }
