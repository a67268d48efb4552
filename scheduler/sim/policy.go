package sim

import (
	"fmt"
	"strings"

	"github.com/weirbuild/weir/proto/pb"
)

// Policy is those choices of a pool that change how it is scheduled.
type Policy struct {
	Learn bool
	Steal bool
}

// Fixed decides as OCluster does; Default is what a new pool has.
var (
	Fixed   = Policy{}
	Default = Policy{Learn: true, Steal: true}
)

type choice struct {
	name string
	on   *bool
}

func (p *Policy) choices() []choice { return []choice{{"learn", &p.Learn}, {"steal", &p.Steal}} }

// ParsePolicy reads "learn=on,..", where what is not named is off.
func ParsePolicy(text string) (Policy, error) {
	var p Policy
	a := &arguments{words: strings.Split(text, ",")}
	for _, c := range p.choices() {
		*c.on = a.onOff(c.name, false)
	}
	if err := a.done(); err != nil {
		return p, fmt.Errorf("policy %s: %w", text, err)
	}
	return p, nil
}

// String gives the form that ParsePolicy reads.
func (p Policy) String() string {
	var words []string
	for _, c := range p.choices() {
		if *c.on {
			words = append(words, c.name+"=on")
		} else {
			words = append(words, c.name+"=off")
		}
	}
	return strings.Join(words, ",")
}

func (p Policy) apply(config *pb.PoolConfig) {
	config.Learn, config.Steal = switchOf(p.Learn), switchOf(p.Steal)
}

func policyOf(config *pb.PoolConfig) Policy {
	return Policy{Learn: config.Learn == pb.Switch_SWITCH_ON, Steal: config.Steal == pb.Switch_SWITCH_ON}
}

func switchOf(on bool) pb.Switch {
	if on {
		return pb.Switch_SWITCH_ON
	}
	return pb.Switch_SWITCH_OFF
}
