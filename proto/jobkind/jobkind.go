// Package jobkind names what a job is: "command", "obuilder". A worker announces
// the kinds that it runs under these names, and the cluster grants it no others.
// A name is the field of pb.JobSpec that holds the job's description.
package jobkind

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weirbuild/weir/proto/pb"
)

// Of names a job's kind. Empty: a newer one, which this binary does not know.
func Of(spec *pb.JobSpec) string {
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
		if name, ok := names[field]; ok {
			return name
		}
		spec = spec[n:]
		if n = protowire.ConsumeFieldValue(field, wire, spec); n < 0 {
			return ""
		}
		spec = spec[n:]
	}
	return ""
}

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
