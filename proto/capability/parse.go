package capability

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/weirbuild/weir/proto/mtls"
)

const scheme = "weir://"

// Parse reads the one line of a capability, without white space around it.
// Unknown parameters are kept. Errors do not quote the text.
func Parse(text string) (Capability, error) {
	c, err := parse(text)
	if err != nil {
		return Capability{}, fmt.Errorf("parse capability: %w", err)
	}
	return c, nil
}

func parse(text string) (Capability, error) {
	if err := checkText(text); err != nil {
		return Capability{}, err
	}
	rest, ok := strings.CutPrefix(text, scheme)
	if !ok {
		return Capability{}, errors.New("it does not begin with " + scheme)
	}
	token, rest, ok := strings.Cut(rest, "@")
	if !ok {
		return Capability{}, errors.New("no '@' after the token: it is cut off")
	}
	addrs, query, ok := strings.Cut(rest, "/?")
	if !ok {
		return Capability{}, errors.New("no '/?' after the addresses: it is cut off, or the shell ate a part (quote it)")
	}
	c := Capability{addrs: strings.Split(addrs, ",")}
	var err error
	if c.token, err = ParseToken(token); err != nil {
		return Capability{}, err
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		return Capability{}, errors.New("the parameters after '/?' are malformed")
	}
	for _, text := range params[paramCA] {
		pin, err := mtls.ParsePin(text)
		if err != nil {
			return Capability{}, err
		}
		c.pins = append(c.pins, pin)
	}
	delete(params, paramCA)
	c.setParams(params)
	return c, c.check()
}

func checkText(text string) error {
	if len(text) > MaxLength {
		return fmt.Errorf("%d bytes, at most %d are allowed", len(text), MaxLength)
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return fmt.Errorf("byte %d is white space or no ASCII text: it must be one line", i+1)
		}
	}
	return nil
}

var validHost = regexp.MustCompile(`^(?i)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$`)

func checkAddress(addr string) error {
	host, port, err := splitAddress(addr)
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' || port[0] == '+' {
		return errors.New("the port is not a number from 1 to 65535")
	}
	if len(host) > 253 || !validHost.MatchString(host) {
		return errors.New("the host is neither a DNS name nor an IP address")
	}
	return nil
}

// splitAddress returns host and port; a bracketed IPv6 address is checked here
// and stands for a valid host.
func splitAddress(addr string) (host, port string, err error) {
	if inner, ok := strings.CutPrefix(addr, "["); ok {
		inner, port, ok = strings.Cut(inner, "]:")
		ip, err := netip.ParseAddr(inner)
		if !ok || err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", "", errors.New("want [IPv6 address]:port")
		}
		return "v6", port, nil
	}
	host, port, ok := strings.Cut(addr, ":")
	if !ok {
		return "", "", errors.New("want host:port")
	}
	return host, port, nil
}
