// Package jobkind names what a job is: "command", "obuilder". A worker announces
// the kinds that it runs under these names, and the cluster grants it no others.
// A name is the field of pb.JobSpec that holds the job's description; "custom:" and
// the job's own kind for a custom job.
package jobkind

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weirbuild/weir/proto/pb"
)

// Limits of what a worker may announce.
const (
	MaxKinds = 64
	maxName  = len(customField) + 1 + 63
)

// Check refuses kinds that no worker may announce.
func Check(kinds []string) error {
	if len(kinds) > MaxKinds {
		return fmt.Errorf("%d kinds of job, at most %d are allowed: give some of them one kind, and tell them apart by the payload", len(kinds), MaxKinds)
	}
	for _, k := range kinds {
		if k == "" || len(k) > maxName {
			return fmt.Errorf("kind of job %.80q: its name has %d bytes, want 1 to %d", k, len(k), maxName)
		}
	}
	return nil
}

// Of names a job's kind. Empty: a newer one, which this binary does not know.
func Of(spec *pb.JobSpec) string {
	if c := spec.GetCustom(); c != nil {
		return Custom(c.GetKind())
	}
	if f := spec.ProtoReflect().WhichOneof(kinds); f != nil {
		return names[f.Number()]
	}
	return ""
}

// OfBytes is Of for a marshalled specification, of which it decodes nothing else.
func OfBytes(spec []byte) string {
	for len(spec) > 0 {
		field, wire, n := protowire.ConsumeTag(spec)
		if n < 0 {
			return ""
		}
		spec = spec[n:]
		if name, ok := names[field]; ok {
			if name == customField {
				return Custom(customKind(spec))
			}
			return name
		}
		if n = protowire.ConsumeFieldValue(field, wire, spec); n < 0 {
			return ""
		}
		spec = spec[n:]
	}
	return ""
}

// Custom names the custom jobs of a kind.
func Custom(kind string) string { return customField + ":" + kind }

// customField is the name of the field that holds a custom job.
const customField = "custom"

// customKind reads the kind out of a custom job's field, which begins with its length.
func customKind(field []byte) string {
	job, n := protowire.ConsumeBytes(field)
	if n < 0 {
		return ""
	}
	return string(last(job, customKindNumber))
}

// SealedTo is the id of the key that a marshalled specification's secrets are sealed
// to; empty: it has none.
func SealedTo(spec []byte) string { return string(last(last(spec, sealedNumber), sealedKeyNumber)) }

// last returns a field of a marshalled message that is bytes, text or a message: the
// last one counts. A message that is not well formed has none.
func last(message []byte, field protowire.Number) (found []byte) {
	for len(message) > 0 {
		number, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil
		}
		message = message[n:]
		if n = protowire.ConsumeFieldValue(number, wire, message); n < 0 {
			return nil
		}
		if number == field {
			found, _ = protowire.ConsumeBytes(message)
		}
		message = message[n:]
	}
	return found
}

var (
	sealedNumber    = new(pb.JobSpec).ProtoReflect().Descriptor().Fields().ByName("sealed").Number()
	sealedKeyNumber = new(pb.SealedSecrets).ProtoReflect().Descriptor().Fields().ByName("key").Number()
)

var customKindNumber = new(pb.CustomJob).ProtoReflect().Descriptor().Fields().ByName("kind").Number()

var (
	kinds = new(pb.JobSpec).ProtoReflect().Descriptor().Oneofs().ByName("kind")
	names = fieldNames(kinds.Fields())
)

func fieldNames(fields protoreflect.FieldDescriptors) map[protowire.Number]string {
	m := map[protowire.Number]string{}
	for i := range fields.Len() {
		m[fields.Get(i).Number()] = string(fields.Get(i).Name())
	}
	return m
}
