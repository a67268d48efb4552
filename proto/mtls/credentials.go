package mtls

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
)

// Dialing returns gRPC credentials for the client side. For each connection
// config is asked for the configuration to dial host, which is the connection's
// authority: give every resolver address its own ServerName when one channel
// has several. Errors carry the text of [Explain].
func Dialing(config func(host string) *tls.Config) credentials.TransportCredentials {
	return dialing{config}
}

// Dialing returns gRPC credentials for a node that dials other nodes.
func (n *Node) Dialing() credentials.TransportCredentials {
	return Dialing(func(string) *tls.Config { return n.ClientConfig(ProtoGRPC) })
}

// DialingPinned returns gRPC credentials for [PinnedConfig].
func DialingPinned(pins []Pin) credentials.TransportCredentials {
	return Dialing(func(host string) *tls.Config { return PinnedConfig(pins, host, ProtoGRPC) })
}

type dialing struct {
	config func(host string) *tls.Config
}

func (d dialing) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config := d.config(authority)
	if config.ServerName == "" {
		config.ServerName = hostOf(authority)
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, nil, Classify(err)
	}
	info := credentials.TLSInfo{
		State:          conn.ConnectionState(),
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}
	return conn, info, nil
}

func (d dialing) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("accept connection: these credentials only dial")
}

func (d dialing) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (d dialing) Clone() credentials.TransportCredentials { return d }

func (d dialing) OverrideServerName(string) error {
	return errors.New("override server name: the host that is dialled is the one that is checked")
}
