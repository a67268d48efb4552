// Package jobkind names what a job is: "command", "obuilder". A worker announces
// the kinds that it runs under these names, and the cluster grants it no others.
// A name is the field of pb.JobSpec that holds the job's description; "custom:" and
// the job's own kind for a custom job.
package jobkind

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weirbuild/weir/proto/pb"
)

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
	kind := ""
	for len(job) > 0 {
		number, wire, n := protowire.ConsumeTag(job)
		if n < 0 {
			return ""
		}
		job = job[n:]
		if n = protowire.ConsumeFieldValue(number, wire, job); n < 0 {
			return ""
		}
		if number == customKindNumber {
			value, _ := protowire.ConsumeBytes(job)
			kind = string(value) // the last one counts, as for every field
		}
		job = job[n:]
	}
	return kind
}

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
