package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// User is whom a command runs as: uid, gid and supplementary groups. Only root
// may name another than itself.
type User struct {
	Name   string
	UID    uint32
	GID    uint32
	Groups []uint32
}

// LookupUser finds the user that jobs run as, by name or number. It refuses
// root, and any other user than the caller's own where the caller is not root.
func LookupUser(nameOrUID string) (*User, error) {
	u, err := user.Lookup(nameOrUID)
	if _, notNumber := strconv.ParseUint(nameOrUID, 10, 32); err != nil && notNumber == nil {
		u, err = user.LookupId(nameOrUID)
	}
	if err != nil {
		return nil, fmt.Errorf("look up job user %q: %w; create it (useradd --system) or name another", nameOrUID, err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("look up groups of job user %q: %w", nameOrUID, err)
	}
	return newUser(u, ids)
}

func newUser(u *user.User, groups []string) (*User, error) {
	ids := make([]uint32, 0, len(groups)+2)
	for _, s := range append([]string{u.Uid, u.Gid}, groups...) {
		id, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read ids of job user %q: %w", u.Username, err)
		}
		ids = append(ids, uint32(id))
	}
	switch {
	case ids[0] == 0:
		return nil, errors.New("jobs may not run as root: name another job user")
	case os.Geteuid() != 0 && int(ids[0]) != os.Geteuid():
		return nil, fmt.Errorf("run jobs as %q: only a worker that runs as root may change users", u.Username)
	}
	return &User{Name: u.Username, UID: ids[0], GID: ids[1], Groups: ids[2:]}, nil
}

// credential is what to change to, nil where nothing changes.
func (u *User) credential() *syscall.Credential {
	if u == nil || os.Geteuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
}
