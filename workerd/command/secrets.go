package command

import (
	"errors"
	"os"
)

// writeSecrets puts the job's secrets where the program finds them.
func (a *attempt) writeSecrets() (err error) {
	if len(a.task.Secrets) == 0 {
		return nil
	}
	if a.secrets == nil {
		return errors.New("this worker has no place in memory for secrets: mount a tmpfs at /dev/shm and start it again")
	}
	a.secretDir, err = a.secrets.Make(a.task.Lease, a.task.Secrets, a.user)
	return err
}

func (a *attempt) removeSecrets() {
	if a.secretDir == "" {
		return
	}
	if err := os.RemoveAll(a.secretDir); err != nil {
		a.log.Error("secrets of a job could not be removed from memory", "job", a.task.Job, "dir", a.secretDir, "error", err)
	}
}

// kept is what the program sees of the directories that are hidden from jobs.
func (a *attempt) kept() []string {
	if a.secretDir == "" {
		return []string{a.dir}
	}
	return []string{a.dir, a.secretDir}
}
