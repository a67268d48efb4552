package client

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
)

// TokenHash is what the cluster gets of a token that the caller made.
func TokenHash(t capability.Token) []byte {
	hash, err := hex.DecodeString(t.Hash())
	if err != nil {
		panic("hash of a token is not hexadecimal: " + err.Error())
	}
	return hash
}

// Assemble joins a token that the caller made with what the cluster said of the
// new capability.
func Assemble(made *pb.NewCapability, t capability.Token) (capability.Capability, error) {
	pins := make([]mtls.Pin, 0, len(made.CaPins))
	for _, text := range made.CaPins {
		p, err := mtls.ParsePin(text)
		if err != nil {
			return capability.Capability{}, fmt.Errorf("CA pin from the cluster: %w", err)
		}
		pins = append(pins, p)
	}
	c, err := capability.New(t, made.Addresses, pins)
	if err != nil {
		return c, err
	}
	kind := strings.ToLower(strings.TrimPrefix(made.Capability.Kind.String(), "CAPABILITY_"))
	if c, err = c.With(capability.ParamKind, kind); err != nil {
		return c, err
	}
	if pools := made.Capability.Pools; len(pools) == 1 {
		return c.With(capability.ParamPool, pools[0])
	}
	return c, nil
}
